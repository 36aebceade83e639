import { hash } from 'node:crypto';
import { installSha256 } from '../../shared/base/hash.ts';
import { type FromWorker, runSeed, type ToWorker } from './jobs.ts';

// One of several processes that share the seeds of a run: takes one after the other from its parent, and ends with it.
installSha256((bytes) => hash('sha256', bytes, 'buffer'));
const before = process.cpuUsage();

process.on('message', (message) => {
  const { seed } = message as ToWorker;
  if (seed !== null) return tell({ outcome: runSeed(seed) });
  const { user, system } = process.cpuUsage(before);
  tell({ cpuSeconds: (user + system) / 1e6 });
  process.disconnect();
});
process.on('disconnect', () => process.exit(0));

function tell(said: FromWorker): void {
  process.send?.(said);
}

/**
 * One closed-loop client in a process of its own: keeps so many requests in flight for so long, and prints one JSON line.
 * `node client.ts synod DIR inFlight ms` or `node client.ts etcd http://host:port inFlight ms`
 */
import { randomBytes } from 'node:crypto';
import { Agent, request } from 'node:http';
import { connect } from '../../src-main/cli/client.ts';

const ENTRY_BYTES = 256;
const [kind = '', target = '', inFlightText = '1', forMsText = '3000'] = process.argv.slice(2);
const inFlight = Number(inFlightText);
const forMs = Number(forMsText);
/** Both are measured warm: Node compiles what runs often, which takes some thousand commits. */
const WARM_UP_MS = forMs / 2;

/** 256 bytes of text, different every time. */
const text = (): string => randomBytes(ENTRY_BYTES / 2).toString('hex');

async function synodWriter(): Promise<{ write: () => Promise<void>; close: () => void }> {
  const connection = await connect(target, AbortSignal.timeout(10_000));
  const signal = new AbortController().signal;
  return {
    write: async () => {
      const written = await connection.service.append({ text: text(), wait: 'committed', timeoutMs: 30_000 }, signal);
      if (written.status !== 'committed') throw new Error(`not committed: ${written.why}`);
    },
    close: () => connection.close(),
  };
}

function etcdWriter(): { write: () => Promise<void>; close: () => void } {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const url = new URL('/v3/kv/put', target);
  let n = 0;
  return {
    write: () =>
      new Promise((resolve, reject) => {
        const key = Buffer.from(`bench/${process.pid}/${n++}`).toString('base64');
        const body = JSON.stringify({ key, value: Buffer.from(text()).toString('base64') });
        const asked = request(
          url,
          { method: 'POST', agent, headers: { 'content-length': Buffer.byteLength(body) } },
          (answer) => {
            answer.resume();
            answer.on('end', () =>
              answer.statusCode === 200 ? resolve() : reject(new Error(`etcd: ${answer.statusCode}`)),
            );
          },
        );
        asked.on('error', reject);
        asked.end(body);
      }),
    close: () => agent.destroy(),
  };
}

const writer = kind === 'synod' ? await synodWriter() : etcdWriter();
const started = performance.now();
const latencies: number[] = [];
const loop = async (): Promise<void> => {
  for (;;) {
    const before = performance.now();
    if (before - started > forMs) return;
    await writer.write();
    const after = performance.now();
    if (before - started >= WARM_UP_MS) latencies.push(after - before);
  }
};
await Promise.all(Array.from({ length: inFlight }, loop));
const measuredMs = performance.now() - started - WARM_UP_MS;
writer.close();
latencies.sort((a, b) => a - b);
const at = (share: number): number =>
  latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
console.log(JSON.stringify({ perSecond: (latencies.length / measuredMs) * 1000, p50Ms: at(0.5), p99Ms: at(0.99) }));

/**
 * A writer in a process of its own: begins an append every so often, whether or not the ones before were answered, through the peer that it is told.
 * `node failover-writer.ts synod|etcd`, with the orders of failover.ts over the channel.
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from '../../src-main/cli/client.ts';

/** What it is told: to write through this directory or address from now on; when somebody was killed; to rest. */
export type Order =
  | { readonly kind: 'through'; readonly target: string }
  | { readonly kind: 'since'; readonly ms: number }
  | { readonly kind: 'rest' };

/** What it tells: the new way works; the first acknowledgement of an append that was begun after the kill. Milliseconds since 1970. */
export type Report = { readonly kind: 'writing' } | { readonly kind: 'acknowledged'; readonly ms: number };

/** Between the beginnings of two appends: what it can be off by. Milliseconds. */
const EVERY_MS = 10;
/** Beyond this many that wait for an answer it begins none; both kinds are given the same. */
const WAITING_MAX = 2_000;
/** Of one append. Whoever loses one answers others long before. Milliseconds. */
const PATIENCE_MS = 60_000;

interface Way {
  write(text: string): Promise<boolean>;
  close(): void;
}

async function synodWay(dir: string): Promise<Way> {
  const { service, close } = await connect(dir, AbortSignal.timeout(PATIENCE_MS));
  const { signal } = new AbortController();
  return {
    async write(text) {
      const { status } = await service.append({ text, wait: 'committed', timeoutMs: PATIENCE_MS }, signal);
      return status === 'committed';
    },
    close,
  };
}

function etcdWay(address: string): Way {
  const agent = new Agent({ keepAlive: true, maxSockets: WAITING_MAX });
  const url = new URL('/v3/kv/put', address);
  return {
    write: (text) =>
      new Promise((resolve, reject) => {
        const value = Buffer.from(text).toString('base64');
        const headers = { 'content-type': 'application/json' };
        const asked = request(url, { method: 'POST', agent, headers, timeout: PATIENCE_MS }, (answer) => {
          answer.resume();
          answer.on('end', () => resolve(answer.statusCode === 200));
        });
        asked.on('error', reject);
        asked.end(JSON.stringify({ key: value, value }));
      }),
    close: () => agent.destroy(),
  };
}

const nowMs = (): number => performance.timeOrigin + performance.now();
const tell = (report: Report): void => void process.send?.(report);

const [kind] = process.argv.slice(2);
/** The one that is written through; an answer to another one no longer counts. */
let way: Way | null = null;
let isAnswered = false;
let sinceMs: number | null = null;
let waiting = 0;

async function write(through: Way): Promise<void> {
  const begunMs = nowMs();
  waiting++;
  const isCommitted = await through.write(`${begunMs} ${Math.random()}`).catch(() => false);
  waiting--;
  if (!isCommitted || way !== through) return;
  if (!isAnswered) {
    isAnswered = true;
    tell({ kind: 'writing' });
  }
  if (sinceMs !== null && begunMs > sinceMs) {
    sinceMs = null;
    tell({ kind: 'acknowledged', ms: nowMs() });
  }
}

process.on('message', (order: Order) => {
  if (order.kind === 'since') sinceMs = order.ms;
  else {
    way?.close();
    way = null;
    sinceMs = null;
    if (order.kind === 'through') void open(order.target);
  }
});
process.once('disconnect', () => process.exit(0));

async function open(target: string): Promise<void> {
  isAnswered = false;
  way = kind === 'synod' ? await synodWay(target) : etcdWay(target);
}

for (;;) {
  if (way !== null && waiting < WAITING_MAX) void write(way);
  await sleep(EVERY_MS);
}

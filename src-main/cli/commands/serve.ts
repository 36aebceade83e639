import { isIPv4 } from 'node:net';
import type { Logger } from 'pino';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { openEndpoint } from '../../peer/endpoint.ts';
import type { LoopbackPlace } from '../../peer/loopback.ts';
import type { Metrics } from '../../peer/metrics.ts';
import type { MetricsServer } from '../../peer/metrics-server.ts';
import { forPages } from '../../peer/page-service.ts';
import { rendererDirectory } from '../../peer/pages.ts';
import { openPeer, type Peer } from '../../peer/peer.ts';
import { openWeb, type Web } from '../../peer/web.ts';
import { directoryOf, type Invocation, jsonLine } from '../command.ts';
import { failureLine, failureOf } from '../failure.ts';
import { logFaults, stackOf } from '../faults.ts';
import { LOG_LEVELS, makeLog } from '../log-output.ts';
import { type Arguments, usage } from '../usage.ts';
import { version } from '../version.ts';

/** What a stop may take: handing over, the last answers, closing the stores; within the 10 s that are promised. Milliseconds. */
const STOP_MS = 9_500;

/** Runs a peer until the person, or the peer itself, ends it. */
export async function serve(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const log = makeLog(io.err, args.choice('log-level', LOG_LEVELS) ?? 'info', json);
  const dir = directoryOf(invocation);
  const name = args.text('name');
  const listen = args.texts('listen');
  const port = args.integer('web', 0);
  if (port !== undefined && port > PORT_MAX) throw usage('--web is a port, from 0 (any) to 65535.');
  const place = metricsPlace(args);
  logFaults(log, io.err, json);
  // LevelDB makes its files without asking for rights of their own: nobody else on this machine reads them.
  process.umask(0o077);
  // Only who measures loads what it takes.
  const metrics = place === undefined ? undefined : { place, metrics: await newMetrics() };
  const peer = await openPeer({
    dir,
    ...(name === undefined ? {} : { name }),
    ...(listen.length === 0 ? {} : { listen }),
    mdns: !args.flag('no-mdns'),
    isMoved: args.flag('moved'),
    // A peer without a window is one that is meant to stay on.
    staysOn: true,
    log: (logLevel, message, detail) => log[logLevel](detail ?? {}, message),
    ...(metrics === undefined ? {} : { meter: metrics.metrics }),
  });
  return run(peer, dir, log, invocation, {
    ...(port === undefined ? {} : { web: { port, rendererDir: rendererDirectory(import.meta.url) } }),
    ...(metrics === undefined ? {} : { metrics }),
  });
}

const PORT_MAX = 65_535;

/** What is measured tells much about a group, so it is served to this machine's programs alone. @throws PeerError USAGE */
function metricsPlace(args: Arguments): LoopbackPlace | undefined {
  const text = args.text('metrics');
  if (text === undefined) return undefined;
  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text) ?? [];
  if (digits === undefined || Number(digits) > PORT_MAX) {
    throw usage(
      `--metrics is an address of this machine's own and a port, such as 127.0.0.1:9464, not ${JSON.stringify(text)}.`,
    );
  }
  const host = bracketed ?? (plain === 'localhost' ? '127.0.0.1' : plain);
  if (host !== '::1' && !(isIPv4(host) && host.startsWith('127.'))) {
    throw usage(
      `--metrics is served to this machine alone: name 127.0.0.1 or [::1], not ${JSON.stringify(host)}. To read it from elsewhere, put a proxy or an SSH tunnel before it.`,
    );
  }
  return { host, port: Number(digits) };
}

async function newMetrics(): Promise<Metrics> {
  const { Metrics } = await import('../../peer/metrics.ts');
  return new Metrics({ version: version(), hasProcess: true });
}

export interface Doors {
  readonly web?: WebDoor;
  readonly metrics?: MetricsDoor;
}

export interface MetricsDoor {
  readonly place: LoopbackPlace;
  readonly metrics: Metrics;
}

export interface WebDoor {
  /** 0: any that is free, and that one again at the next start. */
  readonly port: number;
  readonly rendererDir: string;
}

/** Lets the directory's commands ask the peer, says that it is ready, and stays until something ends it. */
export async function run(
  peer: Peer,
  dir: string,
  log: Logger,
  { io, json }: Invocation,
  wanted: Doors = {},
  stopMs = STOP_MS,
): Promise<number> {
  const doors: { close(): Promise<void> }[] = [];
  const onProblem = (error: unknown): void =>
    log.error({ error: stackOf(error) }, 'a request met a fault of the program; please report it');
  // First no more questions, then no more peer: whoever asks is told, and not left waiting.
  const stop = (): Promise<unknown> => Promise.all(doors.map((door) => door.close())).finally(() => peer.close());
  try {
    const { service } = peer;
    const opened: { web: Web | null; metrics: MetricsServer | null } = { web: null, metrics: null };
    if (wanted.web !== undefined) {
      opened.web = await openWebDoor(peer, wanted.web, onProblem);
      doors.push(opened.web);
    }
    if (wanted.metrics !== undefined) {
      const { openMetricsServer } = await import('../../peer/metrics-server.ts');
      opened.metrics = await openMetricsServer({ ...wanted.metrics, view: peer.view(), onProblem });
      doors.push(opened.metrics);
    }
    doors.push(await openEndpoint({ service, dir, onProblem }));
    const [web, metrics] = [opened.web?.url ?? null, opened.metrics?.url ?? null];
    await io.out(json ? jsonLine(readyEvent(peer, web, metrics)) : readyPage(peer, dir, web, metrics));
    const fatal = await Promise.race([interrupted(io.signal), peer.closed]);
    if (fatal === undefined) return EXIT.done;
    const failure = failureOf(fatal);
    await io.err(failureLine(failure, json));
    return failure.exitCode;
  } finally {
    await inAtMost(stopMs, stop()).catch((error: unknown) =>
      log.error({ error: stackOf(error) }, 'the stop was not clean; what was saved is kept'),
    );
  }
}

/** Bookmarks and pages that are still open should find back, so a port that nobody named is kept. */
async function openWebDoor(peer: Peer, door: WebDoor, onProblem: (error: unknown) => void): Promise<Web> {
  const { token, port } = await peer.webPlace();
  const options = { ...door, service: forPages(peer.service), token, onProblem };
  if (door.port !== 0) return openWeb(options);
  const web = await openWeb({ ...options, port: port ?? 0 }).catch((error: unknown) => {
    if (port !== null && error instanceof PeerError && error.code === 'PORT_IN_USE') return openWeb(options);
    throw error;
  });
  await peer.keepWebPort(web.port);
  return web;
}

const readyEvent = (peer: Peer, web: string | null, metrics: string | null): object => ({
  event: 'ready',
  peer: peer.peer,
  addresses: peer.addresses(),
  web,
  metrics,
});

function readyPage(peer: Peer, dir: string, web: string | null, metrics: string | null): string {
  const lines = [`Running for ${dir} as ${peer.peer}`, ...peer.addresses().map((address) => `  listens on ${address}`)];
  if (web !== null) lines.push(`Its window, for browsers on this machine: ${web}`);
  if (metrics !== null) lines.push(`Its metrics, for programs on this machine: ${metrics}`);
  return `${lines.join('\n')}\nCtrl+C stops it.\n`;
}

function interrupted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}

async function inAtMost(limitMs: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs / 1_000} s`)), limitMs);
  });
  await Promise.race([work, limit]).finally(() => clearTimeout(timer));
}

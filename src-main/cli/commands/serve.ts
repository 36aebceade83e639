import type { Logger } from 'pino';
import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { openEndpoint } from '../../peer/endpoint.ts';
import { rendererDirectory } from '../../peer/pages.ts';
import { openPeer, type Peer } from '../../peer/peer.ts';
import { openWeb, type Web } from '../../peer/web.ts';
import { directoryOf, type Invocation, jsonLine } from '../command.ts';
import { failureLine, failureOf } from '../failure.ts';
import { LOG_LEVELS, makeLog } from '../log-output.ts';
import { usage } from '../usage.ts';

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
  if (port !== undefined && port > 65_535) throw usage('--web is a port, from 0 (any) to 65535.');
  // LevelDB makes its files without asking for rights of their own: nobody else on this machine reads them.
  process.umask(0o077);
  const peer = await openPeer({
    dir,
    ...(name === undefined ? {} : { name }),
    ...(listen.length === 0 ? {} : { listen }),
    mdns: !args.flag('no-mdns'),
    // A peer without a window is one that is meant to stay on.
    staysOn: true,
    log: (logLevel, message, detail) => log[logLevel](detail ?? {}, message),
  });
  const web = port === undefined ? undefined : { port, rendererDir: rendererDirectory(import.meta.url) };
  return run(peer, dir, log, invocation, web);
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
  webDoor?: WebDoor,
  stopMs = STOP_MS,
): Promise<number> {
  const doors: { close(): Promise<void> }[] = [];
  const onProblem = (error: unknown): void => log.error({ err: error }, 'a request met a fault of the program');
  // First no more questions, then no more peer: whoever asks is told, and not left waiting.
  const stop = (): Promise<unknown> => Promise.all(doors.map((door) => door.close())).finally(() => peer.close());
  try {
    const { service } = peer;
    let web: Web | null = null;
    if (webDoor !== undefined) {
      web = await openWebDoor(peer, webDoor, onProblem);
      doors.push(web);
    }
    doors.push(await openEndpoint({ service, dir, onProblem }));
    await io.out(json ? jsonLine(readyEvent(peer, web)) : readyPage(peer, dir, web));
    const fatal = await Promise.race([interrupted(io.signal), peer.closed]);
    if (fatal === undefined) return EXIT.done;
    const failure = failureOf(fatal);
    await io.err(failureLine(failure, json));
    return failure.exitCode;
  } finally {
    await inAtMost(stopMs, stop()).catch((error: unknown) => log.error({ err: error }, 'the stop was not clean'));
  }
}

/** Bookmarks and pages that are still open should find back, so a port that nobody named is kept. */
async function openWebDoor(peer: Peer, door: WebDoor, onProblem: (error: unknown) => void): Promise<Web> {
  const { token, port } = await peer.webPlace();
  const options = { ...door, service: peer.service, token, onProblem };
  if (door.port !== 0) return openWeb(options);
  const web = await openWeb({ ...options, port: port ?? 0 }).catch((error: unknown) => {
    if (port !== null && error instanceof PeerError && error.code === 'PORT_IN_USE') return openWeb(options);
    throw error;
  });
  await peer.keepWebPort(web.port);
  return web;
}

const readyEvent = (peer: Peer, web: Web | null): object => ({
  event: 'ready',
  peer: peer.peer,
  addresses: peer.addresses(),
  web: web?.url ?? null,
});

function readyPage(peer: Peer, dir: string, web: Web | null): string {
  const lines = [`Running for ${dir} as ${peer.peer}`, ...peer.addresses().map((address) => `  listens on ${address}`)];
  if (web !== null) lines.push(`Its window, for browsers on this machine: ${web.url}`);
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

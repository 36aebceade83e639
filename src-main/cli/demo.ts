// Three machines on this computer that keep one log, each with its window: `npm run demo`. With --once it stops by itself and opens
// none, with --dir it leaves its data there.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { connect, type PeerConnection } from './client.ts';
import { getElectron, startWindow } from './electron.ts';
import { failureOf } from './failure.ts';

/** Apollo 13, 13 April 1970: the air-to-ground transcript (NASA, public domain). Each line by the machine of that number. */
const TRANSCRIPT: readonly (readonly [machine: number, speaker: string, text: string])[] = [
  [1, 'CC', '13, we’ve got one more item for you, when you get a chance. We’d like you to stir up your cryo tanks.'],
  [2, 'LMP', 'Okay, Houston - -'],
  [0, 'CDR', 'I believe we’ve had a problem here.'],
  [1, 'CC', 'This is Houston. Say again, please.'],
  [0, 'CDR', 'Houston, we’ve had a problem. We’ve had a MAIN B BUS UNDERVOLT.'],
  [1, 'CC', 'Roger. MAIN B UNDERVOLT.'],
  [1, 'CC', 'Okay, stand by, 13. We’re looking at it.'],
  [2, 'LMP', 'Okay. Right now, Houston, the voltage is - is looking good. And we had a pretty large bang.'],
  [1, 'CC', 'Roger, Fred.'],
  [2, 'LMP', 'In the interim here, we’re starting to go ahead and button up the tunnel again.'],
  [0, 'CDR', 'And, Houston, we had a RESTART on our computer and we had a PGNCS light and the RESTART RESET.'],
  [2, 'LMP', 'Yes. We got a MAIN BUS A UNDERVOLT now, too, showing.'],
  [1, 'CC', 'MAIN A UNDERVOLT.'],
];

const MACHINES = ['Odyssey', 'Houston', 'Aquarius'] as const;
const WRITERS = ['CDR', 'CC', 'LMP'] as const;
const TITLE = 'Apollo 13 · air to ground';
/** For each thing that takes an election or a dial. Milliseconds. */
const STEP_MS = 60_000;
/** Longer than a peer takes for a clean stop. Milliseconds. */
const STOP_MS = 12_000;

/** With words for people. */
class DemoError extends Error {}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** What each machine runs: a peer alone, one whose window a browser shows, or one with a window of its own. */
type Kind = { readonly shows: 'nothing' | 'page' } | { readonly shows: 'window'; readonly program: string };

interface Machine {
  readonly name: string;
  readonly dir: string;
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
  /** Whether it has what it shows; false where it ended before. */
  readonly begun: Promise<boolean>;
  connection?: PeerConnection;
  /** Where a browser finds its window. */
  page?: string;
}

async function demo(): Promise<void> {
  const { values } = parseArgs({
    options: { once: { type: 'boolean' }, dir: { type: 'string' }, help: { type: 'boolean' } },
  });
  if (values.help)
    return say(
      'npm run demo -- [--once] [--dir DIR]\n\nThree machines in one log, on this computer, each with its window. --once: opens none and ends by itself. --dir: keeps their data.',
    );
  const kept = values.dir === undefined ? undefined : resolve(values.dir);
  const stop = new AbortController();
  const third = process.platform === 'win32' ? 'SIGBREAK' : 'SIGHUP';
  for (const signal of ['SIGINT', 'SIGTERM', third] as const) process.on(signal, () => stop.abort());

  const dir = kept ?? (await mkdtemp(join(tmpdir(), 'synod-demo-')));
  const machines: Machine[] = [];
  try {
    await run(dir, machines, values.once === true, stop.signal);
    if (!values.once) {
      say('\nCtrl+C stops all three.');
      const ended = Promise.all(machines.map(({ exited }) => exited));
      await Promise.race([interruption(stop.signal), ended]);
      stop.abort();
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    await Promise.all(machines.map(stopMachine));
    if (kept === undefined) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Starts the three, in windows if there can be some. */
async function startAll(dir: string, machines: Machine[], isOnce: boolean, signal: AbortSignal): Promise<void> {
  const startEach = (kind: Kind): void => {
    machines.push(...MACHINES.map((name) => startMachine(join(dir, name.toLowerCase()), name, kind)));
  };
  if (isOnce) return startEach({ shows: 'nothing' });
  const found = await getElectron(process.env, process.platform, say);
  let why = 'why' in found ? found.why : '';
  if ('program' in found) {
    startEach({ shows: 'window', program: found.program });
    const begun = await Promise.all(machines.map((machine) => machine.begun));
    if (begun.every(Boolean) || signal.aborted) return;
    why = 'Electron could not open a window (its own words stand above)';
    await Promise.all(machines.splice(0).map(stopMachine));
  }
  say(`${why}, so their windows are for a browser on this machine.`);
  startEach({ shows: 'page' });
}

async function run(dir: string, machines: Machine[], isOnce: boolean, signal: AbortSignal): Promise<void> {
  await startAll(dir, machines, isOnce, signal);
  say(`Three machines, all on this one: ${MACHINES.join(', ')}. Their data is in ${dir}`);
  for (const machine of machines) {
    await ready(machine, signal);
    machine.connection ??= await connect(machine.dir, signal);
  }
  const [first, ...others] = machines as [Machine, ...Machine[]];
  if ((await serviceOf(first).groups({}, signal)).length === 0) await found(first, others, signal);
  say('Waiting until all three decide together…');
  await threeVoters(first, signal);
  if ((await serviceOf(first).status({}, signal)).groups[0]?.positions === 0) await converse(machines, signal);
  await show(machines, signal);
}

async function found(first: Machine, others: readonly Machine[], signal: AbortSignal): Promise<void> {
  await serviceOf(first).create({ title: TITLE }, signal);
  say(`${first.name} starts the log “${TITLE}”.`);
  for (const other of others) {
    const { ticket } = await serviceOf(first).invite(
      { rights: 'writer', role: 'voter', expiresMs: 3_600_000, timeoutMs: STEP_MS },
      signal,
    );
    for await (const event of serviceOf(other).join({ ticket, timeoutMs: STEP_MS }, signal)) {
      if (event.kind === 'joined') say(`${first.name} invites ${other.name}: in.`);
    }
  }
}

async function threeVoters(first: Machine, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + STEP_MS;
  for (;;) {
    const group = (await serviceOf(first).status({}, signal)).groups[0];
    if (group?.canCommit && group.quorum.voters === 3 && group.quorum.reachable === 3) return;
    if (performance.now() > deadline)
      throw new DemoError(`Not three voters after a minute: ${group?.why ?? 'no reason given'}`);
    await sleep(200, undefined, { signal });
  }
}

async function converse(machines: readonly Machine[], signal: AbortSignal): Promise<void> {
  say('Three people talk, each on their own machine…');
  for (const [at, writer, text] of TRANSCRIPT) {
    const params = { text, writer, wait: 'committed', timeoutMs: STEP_MS } as const;
    await serviceOf(machines[at] as Machine).append(params, signal);
  }
}

async function show(machines: readonly Machine[], signal: AbortSignal): Promise<void> {
  const last = machines[2] as Machine;
  const { position, digest } = await serviceOf(last).barrier({ timeoutMs: STEP_MS }, signal);
  say(
    `\nThe log as ${last.name} has it, ${position} entries in the one order that all three agreed on (${digest.slice(0, 12)}):\n`,
  );
  for await (const line of serviceOf(last).log({ follow: false, pending: false }, signal)) {
    say(`  #${String(line.position).padEnd(3)} ${line.writer.padEnd(4)} ${line.text ?? '(removed)'}`);
  }
  if (machines.some(({ page }) => page !== undefined)) {
    say('\nOpen their windows, side by side:');
    for (const { name, page } of machines) say(`  ${name.padEnd(9)}${page}`);
  }
  say('\nOr write as one of them from another terminal:');
  machines.forEach((machine, at) => {
    say(`  npx synod append --dir ${quoted(machine.dir)} --as ${WRITERS[at]} "Stand by."`);
  });
  say('Read it on another, or follow it there:');
  say(`  npx synod log --dir ${quoted((machines[1] as Machine).dir)} --limit 5`);
  say(`  npx synod log --dir ${quoted((machines[0] as Machine).dir)} --follow`);
  say(`How they stand:\n  npx synod status --dir ${quoted((machines[0] as Machine).dir)}`);
}

function startMachine(dir: string, name: string, kind: Kind): Machine {
  const options = ['--dir', dir, '--name', name, '--listen', '/ip4/127.0.0.1/tcp/0', '--no-mdns'];
  if (kind.shows === 'window') {
    const { child, exited, opened } = startWindow(kind.program, options);
    return { name, dir, process: child, exited, begun: opened };
  }
  const entry = ['synod.js', 'synod.ts'].map((file) => fileURLToPath(new URL(file, import.meta.url))).find(existsSync);
  const page = kind.shows === 'page' ? ['--web', '0'] : [];
  // The channel is how a child is asked to stop, on Windows too; it also ends a child whose parent is gone.
  const args = ['serve', ...options, ...page, '--json', '--log-level', 'error'];
  const child = spawn(process.execPath, [entry as string, ...args], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
    process.stderr.write(`${name}: ${messageIn(line)}\n`);
  });
  const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const begun = new Promise<boolean>((resolve) => {
    // The peer's first line says that it is ready, and where its page is.
    lines.once('line', (line) => {
      const { web } = JSON.parse(line) as { readonly web: string | null };
      if (web !== null) machine.page = web;
      resolve(true);
    });
    void exited.then(() => resolve(false));
  });
  const machine: Machine = { name, dir, process: child, exited, begun };
  return machine;
}

/** What a line of the peer's log or its last word says to people. */
function messageIn(line: string): string {
  try {
    const said = JSON.parse(line) as { readonly message?: string };
    return said.message ?? line;
  } catch {
    return line;
  }
}

async function ready(machine: Machine, signal: AbortSignal): Promise<void> {
  const failed = machine.exited.then(() => {
    throw new DemoError(`${machine.name} did not start; its reason stands above.`);
  });
  failed.catch(() => {});
  const limit = new AbortController();
  const isOver = AbortSignal.any([signal, limit.signal]);
  const answers = machine.begun.then(() => answering(machine, isOver));
  answers.catch(() => {});
  try {
    await Promise.race([answers, failed, sleep(STEP_MS, undefined, { signal: isOver })]);
  } finally {
    limit.abort();
  }
}

/** A window opens before its peer does, so it is asked until it answers. */
async function answering(machine: Machine, signal: AbortSignal): Promise<void> {
  for (;;) {
    const connection = await connect(machine.dir, signal).catch(() => null);
    if (connection) {
      machine.connection = connection;
      return;
    }
    await sleep(200, undefined, { signal });
  }
}

async function stopMachine({ process: child, exited, connection }: Machine): Promise<void> {
  connection?.close();
  if (child.connected) child.send('stop');
  else child.kill();
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  await exited;
  clearTimeout(timer);
}

function serviceOf(machine: Machine): PeerConnection['service'] {
  if (!machine.connection) throw new DemoError(`${machine.name} is not connected`);
  return machine.connection.service;
}

function interruption(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
    // A signal handler alone does not keep a process alive.
    const alive = setInterval(() => {}, 3_600_000);
    signal.addEventListener('abort', () => clearInterval(alive), { once: true });
  });
}

const quoted = (path: string): string => (/^[\w./:\\-]+$/.test(path) ? path : JSON.stringify(path));

try {
  await demo();
} catch (error) {
  process.stderr.write(`${error instanceof DemoError ? error.message : failureOf(error).message}\n`);
  process.exitCode = 1;
}

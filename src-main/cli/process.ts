import { homedir } from 'node:os';
import { connect } from './client.ts';
import type { Io, Write } from './io.ts';
import { main } from './main.ts';

/** Runs one command in this process and leaves with its exit code. */
export async function runProcess(argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  const interrupted = new AbortController();
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals): void => {
    signals += 1;
    // Asked twice is meant: whatever takes its time is left as after a crash, which it has to survive anyway.
    if (signals > 1) process.exit(signal === 'SIGINT' ? 130 : 143);
    interrupted.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  if (process.platform === 'win32') process.on('SIGBREAK', onSignal);
  else process.on('SIGHUP', onSignal);
  stopWithParent(() => interrupted.abort());

  const out = writer(process.stdout, () => interrupted.abort());
  const err = writer(process.stderr, () => {});
  const io: Io = {
    stdin: () => process.stdin,
    out: out.write,
    // Who went away with the output does not want to hear about it.
    err: async (text) => (out.broken() ? undefined : err.write(text)),
    env: process.env,
    platform: process.platform,
    home: homedir(),
    cwd: process.cwd(),
    colour: process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
    signal: interrupted.signal,
    connect,
  };
  const code = await main(argv, io);
  await Promise.all([out.flushed(), err.flushed()]);
  // Nobody reading to the end, as in "synod log | head", is no failure.
  process.exit(out.broken() ? 0 : code);
}

/** Windows has no signal that asks a program to stop; a parent with a channel can use that, and its end means the same. */
function stopWithParent(stop: () => void): void {
  if (!process.channel) return;
  process.once('message', stop);
  process.once('disconnect', stop);
  process.channel.unref();
}

function writer(
  stream: NodeJS.WriteStream,
  onBroken: () => void,
): { write: Write; flushed(): Promise<void>; broken(): boolean } {
  let broken = false;
  stream.on('error', () => {
    broken = true;
    onBroken();
  });
  return {
    write: async (text) => {
      if (broken || stream.write(text)) return;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          stream.off('drain', done);
          stream.off('error', done);
          resolve();
        };
        stream.on('drain', done);
        stream.on('error', done);
      });
    },
    flushed: () => new Promise((resolve) => (broken ? resolve() : stream.write('', () => resolve()))),
    broken: () => broken,
  };
}

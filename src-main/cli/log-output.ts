import { type Logger, pino } from 'pino';
import type { Write } from './io.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;

/** Lines that may wait for who reads the log; the rest is dropped. */
const WAITING_MAX = 1_000;

/** The running peer's log: JSON for programs, or one readable line an event. */
export function makeLog(write: Write, level: (typeof LOG_LEVELS)[number], json: boolean): Logger {
  let waiting = 0;
  const stream = {
    write(line: string): void {
      // The log is no reason to hold up the peer, nor to fill its memory when nobody reads it.
      if (waiting >= WAITING_MAX) return;
      waiting += 1;
      void write(json ? line : readable(line)).finally(() => {
        waiting -= 1;
      });
    },
  };
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}

const NAMES: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

/** `22:10:05 warn  what happened  group=gabc peer=12D3…` */
function readable(line: string): string {
  const { level, time, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const clock = new Date(String(time)).toTimeString().slice(0, 8);
  const details = Object.entries(rest).map(([name, value]) => `${name}=${valueText(value)}`);
  if (err !== undefined) details.push(`error=${valueText((err as { message?: unknown }).message ?? err)}`);
  const words = [clock, (NAMES[Number(level)] ?? '').padEnd(5), String(msg ?? ''), ...details];
  return `${words
    .join(' ')
    .replace(/[\r\n]+/g, ' ')
    .trimEnd()}\n`;
}

function valueText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

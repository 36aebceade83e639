import { type Logger, pino } from 'pino';
import type { Write } from './io.ts';
import { printableLine } from './terminal.ts';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;

/** Lines that may wait for who reads the log; the rest is dropped. */
const WAITING_MAX = 1_000;

/**
 * The running peer's log, for operators: one JSON object a line, `{"level":"info","time":ISO,…,"message":…}` with `group` where it is about one, or one readable
 * line an event. No texts, no secrets: a log is handed on.
 */
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
  const options = {
    level,
    base: null,
    messageKey: 'message',
    formatters: { level: (label: string) => ({ level: label }) },
    timestamp: pino.stdTimeFunctions.isoTime,
  };
  return pino(options, stream);
}

/** `22:10:05 warn  what happened  group=gabc peer=12D3…` */
function readable(line: string): string {
  const { level, time, message, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const clock = new Date(String(time)).toTimeString().slice(0, 8);
  const details = Object.entries(rest).map(([name, value]) => `${name}=${valueText(value)}`);
  const words = [clock, String(level).padEnd(5), String(message ?? ''), ...details];
  return `${printableLine(words.join(' ')).trimEnd()}\n`;
}

function valueText(value: unknown): string {
  // Of an error's stack the first line is what people can use.
  const text = typeof value === 'string' ? (value.split('\n')[0] as string) : JSON.stringify(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text);
}

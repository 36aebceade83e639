import type { Logger } from 'pino';
import { EXIT } from '../../shared/ipc/errors.ts';
import { failureLine, failureOf } from './failure.ts';
import type { Write } from './io.ts';

/** The last words may take so long to be written. Milliseconds. */
const LAST_WORDS_MS = 1_000;

/** For a log: where a fault of the program was, or what else was thrown. */
export const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/**
 * Node writes its warnings, and what ends a program, to standard error in a form of its own. Here they go the way of everything else there: warnings into the log, the end
 * as a line of the log and the command's error. The peer can't go on after it: what it would go on with may be anything.
 */
export function logFaults(log: Logger, write: Write, json: boolean): void {
  process.removeAllListeners('warning');
  process.on('warning', (warning) => log.warn({ error: stackOf(warning) }, `Node warns: ${warning.message}`));
  process.once('uncaughtException', (error) => {
    log.error({ error: stackOf(error) }, 'stopped by a fault of the program; what was saved is kept; please report it');
    const leave = (): never => process.exit(EXIT.failed);
    setTimeout(leave, LAST_WORDS_MS);
    void write(failureLine(failureOf(error), json)).finally(leave);
  });
}

import type { Method, PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { methods } from '../../shared/ipc/schemas.ts';

const NOT_FOR_PAGES: ReadonlySet<Method> = new Set(['backup', 'carried', 'carry']);

/** The peer for windows: a page reads and writes the log, but files of this machine, and its key, are none of its business. */
export function forPages(service: PeerService): PeerService {
  const refused = (): never => {
    throw new PeerError('USAGE', 'That is done with the command, on this machine: see synod --help.');
  };
  const call = (name: Method) => (params: never, signal: AbortSignal) => service[name](params, signal);
  const names = Object.keys(methods) as Method[];
  return Object.fromEntries(
    names.map((name) => [name, NOT_FOR_PAGES.has(name) ? refused : call(name)]),
  ) as unknown as PeerService;
}

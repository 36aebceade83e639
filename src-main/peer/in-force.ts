import { PeerError } from '../../shared/ipc/errors.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import { waitFor } from './waiting.ts';
import { timedOut } from './writing.ts';

export interface Waiting {
  /** Looked at again and again. */
  readonly isDone: () => boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Done before each look, for what has to be asked for again. */
  readonly again?: () => void;
}

const LOOK_MS = 50;

/** Waits until what a command asked for is so. @throws PeerError `TIMED_OUT`, with what is in the way */
export async function untilInForce(host: GroupHost, network: Network, waiting: Waiting): Promise<void> {
  const { isDone, timeoutMs, signal, again } = waiting;
  const ended = await waitFor<void>(timeoutMs, signal, (done) => {
    const look = (): void => {
      if (!host.isOpen) return;
      if (isDone()) done();
      else again?.();
    };
    const timer = setInterval(look, LOOK_MS);
    look();
    return () => clearInterval(timer);
  });
  if (ended.by === 'done') return;
  const { leads, changeObstacle } = host.replica.inspect();
  const waitsFor = host.isOpen ? (changeObstacle ?? null) : null;
  if (!leads || waitsFor === null) throw timedOut(host, network);
  throw new PeerError('TIMED_OUT', `Not in force yet: ${waitsFor}.`);
}

/** The newest configuration governs every open slot. */
export const isSettled = (host: GroupHost): boolean => host.replica.inspect().window.length === 1;

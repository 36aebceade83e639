import { randomBytes } from 'node:crypto';
import { type Incarnation, incarnationFromBytes } from '../../shared/base/ids.ts';
import type { JoinEvent, JoinStep } from '../../shared/ipc/contract.ts';
import { type ErrorCode, PeerError } from '../../shared/ipc/errors.ts';
import { type JoinCode, JoinError, type Joined, type JoinOutcome, joinGroup } from '../group/join-guest.ts';
import { lookingFor } from '../group/join-words.ts';
import type { LocalSettings } from '../group/local.ts';
import { formatTicket, parseTicket, type Ticket, TicketError } from '../group/ticket.ts';
import type { Network } from '../network/network.ts';

const STEPS: Partial<Record<JoinCode, JoinStep>> = {
  NO_ANSWER: 'NO_ANSWER',
  WRONG_PEER: 'WRONG_PEER',
  REFUSED: 'DOOR_SHUT',
  // Told without being the end: the door is shut, and the ticket's date past by this machine's clock.
  TICKET_EXPIRED: 'DOOR_SHUT',
  WAITING: 'WAITING_FOR_GROUP',
};

/** How often it is looked whether the log has arrived meanwhile. Milliseconds. */
const LOOK_MS = 200;

const FINAL: Partial<Record<JoinCode, ErrorCode>> = {
  TICKET_EXPIRED: 'INVITATION_EXPIRED',
  INVITATION_REVOKED: 'INVITATION_EXPIRED',
  INVITATION_UNKNOWN: 'INVITATION_EXPIRED',
  INVITATION_USED: 'INVITATION_USED',
  OWN_TICKET: 'ALREADY_MEMBER',
};

export function ticketOf(text: string): Ticket {
  try {
    return parseTicket(text);
  } catch (error) {
    if (error instanceof TicketError) throw new PeerError('BAD_TICKET', error.message, { cause: error });
    throw error;
  }
}

/**
 * The way into a group: every station as an event, then `admit` makes the store, and the last event says so. What was asked is remembered, so that asking again with the
 * same ticket is the same joiner.
 * @throws PeerError
 */
export async function* join(
  text: string,
  timeoutMs: number,
  signal: AbortSignal,
  around: {
    readonly network: Network;
    readonly local: LocalSettings;
    readonly name: string;
    /** Of the store that a former member still has. */
    readonly incarnation: Incarnation | null;
    /** This machine was let in before, and its log says so by now. Null while it does not. */
    readonly isIn: () => JoinEvent | null;
    /** Makes the store and opens it. */
    readonly admit: (joined: Joined, incarnation: Incarnation) => Promise<void>;
  },
): AsyncGenerator<JoinEvent> {
  const ticket = ticketOf(text);
  const known = around.local.pendingJoins().find((pending) => pending.group === ticket.group);
  const incarnation = around.incarnation ?? known?.incarnation ?? incarnationFromBytes(new Uint8Array(randomBytes(16)));
  // Not the message that it came in.
  const plain = formatTicket(ticket);
  await around.local.setPendingJoin({ group: ticket.group, ticket: plain, incarnation, startedMs: Date.now() });
  yield { kind: 'step', step: 'DIALLING', message: lookingFor(ticket.title) };

  const outcomes: JoinOutcome[] = [];
  let wake = (): void => {};
  const enough = new AbortController();
  const joining = joinGroup({
    network: around.network,
    ticket,
    incarnation,
    name: around.name,
    signal: AbortSignal.any([signal, enough.signal, AbortSignal.timeout(timeoutMs)]),
    onOutcome: (outcome, isFinal) => {
      // The last one is what the request fails with.
      if (!isFinal) outcomes.push(outcome);
      wake();
    },
  });
  let joined: Joined | null = null;
  let failure: unknown = null;
  const ended = joining.then(
    (result) => {
      joined = result;
      wake();
    },
    (error: unknown) => {
      failure = error;
      wake();
    },
  );
  for (;;) {
    const outcome = outcomes.shift();
    if (outcome !== undefined) {
      const step = STEPS[outcome.code];
      if (step !== undefined) yield { kind: 'step', step, message: outcome.message };
      continue;
    }
    if (joined !== null || failure !== null) break;
    // Asked again right after it was let in: the door is shut by then, and the log on its way.
    const before = around.isIn();
    if (before !== null) {
      enough.abort();
      await ended;
      await around.local.removePendingJoin(ticket.group);
      yield before;
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
  await ended;
  if (failure !== null) throw await failed(failure, ticket, around.local);
  const { group, title, role } = joined as unknown as Joined;
  await around.admit(joined as unknown as Joined, incarnation);
  await around.local.removePendingJoin(group);
  yield { kind: 'joined', group, title, role };
}

async function failed(error: unknown, ticket: Ticket, local: LocalSettings): Promise<unknown> {
  if (!(error instanceof JoinError)) return error;
  if (!error.final) return new PeerError('TIMED_OUT', error.message, { cause: error });
  await local.removePendingJoin(ticket.group);
  return new PeerError(FINAL[error.code] ?? 'BAD_TICKET', error.message, { cause: error });
}

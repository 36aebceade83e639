import { type GroupId, groupIdOf, type Incarnation } from '../../shared/base/ids.ts';
import { invitationBytes } from '../../shared/document/invitation.ts';
import { NAME_MAX_BYTES } from '../../shared/document/text.ts';
import type { Rights } from '../../shared/document/types.ts';
import { JoinDialError, type JoinStream, type Network } from '../network/network.ts';
import { type Clock, deadline, pause, systemClock } from './clock.ts';
import {
  decodeJoinAnswer,
  encodeJoinRequest,
  type JoinAdmitted,
  type JoinAnswer,
  type JoinMember,
  type JoinRefused,
  JoinVersionError,
  type Role,
} from './join-messages.ts';
import * as words from './join-words.ts';
import { signerFromSeed } from './keys.ts';
import { oneLine } from './text.ts';
import type { Ticket } from './ticket.ts';

/**
 * How a join stands. A closed list. The first four may still turn into an admission, so the guest goes on; where the host gave one of the
 * others as its reason, it is final.
 * - `NO_ANSWER`, `WRONG_PEER`, `REFUSED` (there, but it lets nobody in now): nobody has heard the question yet.
 * - `WAITING`: the host let the guest in, and the group has yet to agree.
 * - `NOT_YET`: only as an error: the time given ran out while the group was being asked.
 * - `TICKET_EXPIRED`, `INVITATION_USED`, `INVITATION_REVOKED`, `INVITATION_UNKNOWN`: another ticket is needed. (`TICKET_EXPIRED` also where the
 *   door is shut and the ticket's date is past; that isn't final, as clocks differ.)
 * - `OWN_TICKET`: made on this very machine.
 * - `UPDATE_NEEDED`: the two versions don't understand each other.
 * - `BAD_ANSWER`: what came back isn't this group, or nothing that makes sense.
 */
export type JoinCode =
  | 'NO_ANSWER'
  | 'WRONG_PEER'
  | 'REFUSED'
  | 'WAITING'
  | 'NOT_YET'
  | 'TICKET_EXPIRED'
  | 'INVITATION_USED'
  | 'INVITATION_REVOKED'
  | 'INVITATION_UNKNOWN'
  | 'OWN_TICKET'
  | 'UPDATE_NEEDED'
  | 'BAD_ANSWER';

/** What the person is told. */
export interface JoinOutcome {
  readonly code: JoinCode;
  readonly message: string;
}

/** The join ended without an admission. */
export class JoinError extends Error {
  override readonly name = 'JoinError';
  readonly code: JoinCode;
  /** False where the time given ran out: the same ticket may still do later. True: it never will. */
  readonly final: boolean;
  constructor(outcome: JoinOutcome, final: boolean) {
    super(outcome.message);
    this.code = outcome.code;
    this.final = final;
  }
}

/** Let in. */
export interface Joined {
  readonly group: GroupId;
  /** Verified: its hash is the group's id. */
  readonly genesis: Uint8Array;
  readonly title: string;
  readonly rights: Rights;
  readonly role: Role;
  readonly members: readonly JoinMember[];
  /** What the host's layer above sent along; not verified. */
  readonly info: Uint8Array;
}

/** Milliseconds, all of them. */
export interface JoinGuestTimes {
  /** For one round: dialling all addresses (which the network does side by side) and the host's greeting. */
  readonly dialMs: number;
  /** A host that says nothing for so long has gone; it repeats itself every 5 s. */
  readonly silenceMs: number;
  /** Between rounds: doubles from the first to the second. */
  readonly retryMs: number;
  readonly retryMsMax: number;
  /** A failure that is still there after this is told; before it, it may be a hiccup. */
  readonly settleMs: number;
  /** Told at the latest, well within the 30 s promised. */
  readonly reportMs: number;
  /** An agreement that takes less isn't worth a word. */
  readonly waitingMs: number;
}

export const JOIN_GUEST_TIMES: JoinGuestTimes = {
  dialMs: 16_000,
  silenceMs: 12_000,
  retryMs: 500,
  retryMsMax: 5_000,
  settleMs: 5_000,
  reportMs: 25_000,
  waitingMs: 1_000,
};

export interface JoinGroupOptions {
  readonly network: Pick<Network, 'self' | 'dialJoin'>;
  readonly ticket: Ticket;
  /** Of the store to be made. Kept across runs (`LocalSettings.pendingJoins`), so that a repeat is the same joiner. */
  readonly incarnation: Incarnation;
  /** How this machine wants to be called. */
  readonly name: string;
  /** Ends the attempt: the timeout, or the person. */
  readonly signal: AbortSignal;
  /**
   * Told once within 30 s unless the join has ended by then, and again only when it becomes another of the codes. A final refusal is told
   * here too, just before the promise rejects with the same code.
   */
  readonly onOutcome?: (outcome: JoinOutcome, isFinal: boolean) => void;
  readonly clock?: Clock;
  readonly times?: Partial<JoinGuestTimes>;
}

/**
 * Asks to be let in until the group agrees, refuses for good, or the signal aborts.
 * @throws JoinError
 */
export async function joinGroup(options: JoinGroupOptions): Promise<Joined> {
  const guest = new Guest(options);
  try {
    return await guest.run();
  } finally {
    guest.clear();
  }
}

/** Longer than any patient host talks in one conversation. */
const ANSWERS_MAX = 200;

type Attempt =
  | { readonly end: 'joined'; readonly joined: Joined }
  | { readonly end: 'final'; readonly outcome: JoinOutcome }
  | { readonly end: 'failed'; readonly outcome: JoinOutcome }
  /** The host was asking the group when the line went. */
  | { readonly end: 'cut' };

class Guest {
  readonly #options: JoinGroupOptions;
  readonly #ticket: Ticket;
  readonly #clock: Clock;
  readonly #times: JoinGuestTimes;
  readonly #request: Uint8Array;
  readonly #cancels: (() => void)[] = [];
  readonly #told = new Set<JoinCode>();
  /** As it stands now; null before anything is known. */
  #outcome: JoinOutcome | null = null;
  #settled = false;
  #waitingTimer = false;
  /** The question was sent, so the group may let this machine in even after this ends. */
  #asked = false;
  /** The host said that the group is being asked. */
  #letIn = false;

  constructor(options: JoinGroupOptions) {
    this.#options = options;
    this.#ticket = options.ticket;
    this.#clock = options.clock ?? systemClock;
    this.#times = { ...JOIN_GUEST_TIMES, ...options.times };
    this.#request = this.#makeRequest();
  }

  async run(): Promise<Joined> {
    const { network, signal } = this.#options;
    if (this.#ticket.inviter === network.self) throw this.#refused(words.ownTicket());
    this.#later(this.#times.settleMs, () => {
      this.#settled = true;
      if (this.#outcome && this.#outcome.code !== 'WAITING') this.#tell(this.#outcome);
    });
    this.#later(this.#times.reportMs, () => this.#tell(this.#outcome ?? this.#silence()));

    let retryMs = this.#times.retryMs;
    while (!signal.aborted) {
      const attempt = await this.#attempt();
      if (attempt.end === 'joined') return attempt.joined;
      if (attempt.end === 'final') throw this.#refused(attempt.outcome);
      if (signal.aborted) break; // what this round ended with is the abort's doing
      if (attempt.end === 'failed') this.#note(attempt.outcome);
      else retryMs = this.#times.retryMs;
      await pause(this.#clock, retryMs, signal);
      retryMs = Math.min(retryMs * 2, this.#times.retryMsMax);
    }
    throw this.#outOfTime();
  }

  clear(): void {
    for (const cancel of this.#cancels.splice(0)) cancel();
  }

  #makeRequest(): Uint8Array {
    const { network, incarnation } = this.#options;
    const { group, seed } = this.#ticket;
    const name = oneLine(this.#options.name, NAME_MAX_BYTES) || network.self.slice(-6);
    const signer = signerFromSeed(seed);
    return encodeJoinRequest({
      group,
      invitationKey: signer.publicKey,
      incarnation,
      name,
      signature: signer.sign(invitationBytes({ group, peer: network.self, incarnation, name })),
    });
  }

  async #attempt(): Promise<Attempt> {
    const { network, signal } = this.#options;
    const patience = deadline(this.#clock, this.#times.dialMs, signal);
    let stream: JoinStream;
    try {
      stream = await network.dialJoin(this.#ticket.inviter, this.#ticket.addresses, patience.signal);
    } catch (error) {
      return { end: 'failed', outcome: this.#dialFailure(error) };
    } finally {
      patience.clear();
    }
    try {
      return await this.#converse(stream);
    } finally {
      await stream.close().catch(() => {});
    }
  }

  #dialFailure(error: unknown): JoinOutcome {
    const { addresses } = this.#ticket;
    const code = error instanceof JoinDialError ? error.code : 'NO_ANSWER';
    if (code === 'WRONG_PEER') return words.wrongPeer(addresses);
    if (code === 'REFUSED') return this.#doorShut();
    return words.noAnswer(addresses);
  }

  /** A shut door doesn't say why. The date on the ticket may. */
  #doorShut(): JoinOutcome {
    const { expiresMs, addresses } = this.#ticket;
    if (expiresMs !== null && this.#clock.nowMs() >= expiresMs) return words.expired(expiresMs);
    return words.doorShut(addresses);
  }

  async #converse(stream: JoinStream): Promise<Attempt> {
    let waiting = false;
    try {
      stream.send(this.#request);
      this.#asked = true;
      for (let heard = 0; heard < ANSWERS_MAX; heard++) {
        const frame = await this.#listen(stream);
        if (frame === null) break;
        const answer = readAnswer(frame);
        if (answer === 'newer') return { end: 'final', outcome: words.updateNeeded() };
        if (answer === 'garbage') return { end: 'final', outcome: words.badAnswer(stream.address) };
        if (answer.type === 'admitted') return this.#admitted(answer, stream.address);
        if (answer.type === 'refused') return this.#refusal(answer);
        waiting = true;
        this.#letIn = true;
        this.#waiting(words.waiting(answer.host, answer.why));
      }
    } catch {
      // The line broke, or the host fell silent.
    }
    return waiting ? { end: 'cut' } : { end: 'failed', outcome: words.noReply([stream.address]) };
  }

  async #listen(stream: JoinStream): Promise<Uint8Array | null> {
    const patience = deadline(this.#clock, this.#times.silenceMs, this.#options.signal);
    try {
      return await stream.receive(patience.signal);
    } finally {
      patience.clear();
    }
  }

  #admitted(answer: JoinAdmitted, address: string): Attempt {
    const { group } = this.#ticket;
    if (groupIdOf(answer.genesis) !== group) return { end: 'final', outcome: words.badAnswer(address) };
    const { genesis, title, rights, role, members, info } = answer;
    return { end: 'joined', joined: { group, genesis, title, rights, role, members, info } };
  }

  #refusal({ code, message }: JoinRefused): Attempt {
    switch (code) {
      case 'TICKET_EXPIRED':
        return { end: 'final', outcome: words.expired(this.#ticket.expiresMs) };
      case 'INVITATION_USED':
        return { end: 'final', outcome: words.used() };
      case 'INVITATION_REVOKED':
        return { end: 'final', outcome: words.revoked() };
      case 'INVITATION_UNKNOWN':
        return { end: 'final', outcome: words.unknown() };
      case 'UPDATE_NEEDED':
        return { end: 'final', outcome: words.updateNeeded() };
      case 'BAD_REQUEST':
        return { end: 'final', outcome: words.notUnderstood() };
      case 'TRY_LATER':
      case null:
        return { end: 'failed', outcome: words.refused(message) };
    }
  }

  /** Told once it has lasted a moment. */
  #waiting(outcome: JoinOutcome): void {
    this.#outcome = outcome;
    if (this.#waitingTimer || this.#told.has('WAITING')) return;
    this.#waitingTimer = true;
    this.#later(this.#times.waitingMs, () => {
      this.#waitingTimer = false;
      if (this.#outcome?.code === 'WAITING') this.#tell(this.#outcome);
    });
  }

  #note(outcome: JoinOutcome): void {
    this.#outcome = outcome;
    if (this.#settled) this.#tell(outcome);
  }

  #tell(outcome: JoinOutcome, isFinal = false): void {
    if (this.#told.has(outcome.code)) return;
    this.#told.add(outcome.code);
    this.#options.onOutcome?.(outcome, isFinal);
  }

  #refused(outcome: JoinOutcome): JoinError {
    this.#tell(outcome, true);
    return new JoinError(outcome, true);
  }

  #outOfTime(): JoinError {
    const underWay = this.#letIn || (this.#asked && this.#outcome === null);
    if (underWay) return new JoinError(words.notYet(), false);
    return new JoinError(this.#outcome ?? this.#silence(), false);
  }

  #silence(): JoinOutcome {
    const { addresses } = this.#ticket;
    return this.#asked ? words.noReply(addresses) : words.noAnswer(addresses);
  }

  #later(ms: number, run: () => void): void {
    this.#cancels.push(this.#clock.after(ms, run));
  }
}

function readAnswer(frame: Uint8Array): JoinAnswer | 'newer' | 'garbage' {
  try {
    return decodeJoinAnswer(frame);
  } catch (error) {
    return error instanceof JoinVersionError ? 'newer' : 'garbage';
  }
}

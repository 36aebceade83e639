import { toHex } from '../../shared/base/bytes.ts';
import type { Verifier } from '../../shared/base/crypto.ts';
import type { GroupId, Incarnation, PeerId } from '../../shared/base/ids.ts';
import { invitationBytes } from '../../shared/document/invitation.ts';
import type { PinnedRole, Rights } from '../../shared/document/types.ts';
import type { JoinStream } from '../network/network.ts';
import { type Clock, deadline, pause, systemClock } from './clock.ts';
import {
  decodeJoinRequest,
  encodeJoinAnswer,
  type JoinAnswer,
  type JoinMember,
  type JoinRefusalCode,
  type JoinRequest,
  JoinVersionError,
  type Role,
} from './join-messages.ts';

/** What the group knows of an invitation, as far as this peer has applied the log. */
export type InvitationState =
  | {
      readonly state: 'open';
      readonly rights: Rights;
      readonly pinnedRole: PinnedRole;
      /** Milliseconds since 1970. */
      readonly expiresMs: number | null;
    }
  /** Also while an admission with it waits in this peer's outbox: then `by` is that joiner. */
  | { readonly state: 'used'; readonly by: PeerId }
  | { readonly state: 'revoked' }
  /** The group isn't here, or has no such invitation. Strangers aren't told which. */
  | { readonly state: 'unknown' };

export interface AdmitRequest {
  readonly group: GroupId;
  readonly invitationKey: Uint8Array;
  readonly joiner: PeerId;
  readonly incarnation: Incarnation;
  /** By the invitation's key over `invitationBytes`; checked, but judged again at apply. */
  readonly signature: Uint8Array;
  readonly name: string;
}

export interface Admission {
  readonly rights: Rights;
  readonly role: Role;
}

export type AdmitResult =
  | { readonly ok: true; readonly admission: Admission }
  /** `message` is for people and goes to the guest with `TRY_LATER`. */
  | { readonly ok: false; readonly code: JoinRefusalCode; readonly message?: string };

/** What a newcomer is told first. */
export interface Welcome {
  readonly genesis: Uint8Array;
  readonly title: string;
  /** Those to dial first, at the front. */
  readonly members: readonly JoinMember[];
  readonly info: Uint8Array;
}

/** The group, as the host of a join needs it. */
export interface JoinHostPort {
  selfName(): string;
  invitation(group: GroupId, invitationKey: Uint8Array): InvitationState;
  /**
   * Proposes the admission and resolves once the group has judged it. For a joiner who is in already with this invitation it resolves ok,
   * without a second member. It goes on when the guest hangs up; the signal aborts only when the host stops.
   */
  admit(request: AdmitRequest, onWaiting: (why: string) => void, signal: AbortSignal): Promise<AdmitResult>;
  /** Asked only for a group whose admission was just agreed. */
  welcome(group: GroupId): Welcome;
  readonly verifier: Verifier;
  /** For the log: a conversation that failed on this side. */
  onProblem?(error: unknown): void;
}

/** Milliseconds, all of them. */
export interface JoinHostTimes {
  /** A guest that asks nothing by then is hung up on. */
  readonly requestMs: number;
  /** A conversation's length, below the 30 s after which the network cuts a stranger off. The guest calls again. */
  readonly holdMs: number;
  /** `waiting` is said again this often, so that a guest can tell patience from silence. */
  readonly repeatMs: number;
  /** How long the host waits for the guest to hang up after the final answer, so that the answer isn't cut off. */
  readonly farewellMs: number;
  /** How long the door stays wanted for a guest that was admitted but didn't hear of it. */
  readonly uncollectedMs: number;
}

export const JOIN_HOST_TIMES: JoinHostTimes = {
  requestMs: 10_000,
  holdMs: 25_000,
  repeatMs: 5_000,
  farewellMs: 3_000,
  uncollectedMs: 24 * 60 * 60 * 1000,
};

export interface JoinHost {
  /** For `Network.setJoinDoor`. Never rejects. */
  readonly onJoin: (stream: JoinStream) => Promise<void>;
  /**
   * Whether the door must stay open although no invitation is open any more: an admission is under way, or was agreed and its guest was cut
   * off before it heard so. Ask again after every `onJoin` and now and then.
   */
  wantsDoor(): boolean;
  /** Ends all conversations and aborts the admissions under way. */
  stop(): void;
  inspect(): { readonly conversations: number; readonly admitting: number; readonly uncollected: number };
}

export function createJoinHost(
  port: JoinHostPort,
  options: { readonly clock?: Clock; readonly times?: Partial<JoinHostTimes> } = {},
): JoinHost {
  return new Host(port, options.clock ?? systemClock, { ...JOIN_HOST_TIMES, ...options.times });
}

/** One per invitation at a time, shared by a guest's repeated calls. */
interface Admitting {
  readonly joiner: PeerId;
  readonly incarnation: Incarnation;
  why: string;
  readonly listeners: Set<() => void>;
  readonly result: Promise<AdmitResult>;
}

type Refusal = { readonly code: JoinRefusalCode; readonly message: string };
type Hearing = { readonly admitting: Admitting } | { readonly refusal: Refusal };
/** Why the host stopped holding the line, where it wasn't for a result. */
type HoldEnd = AdmitResult | 'guest gone' | 'long enough';

const REFUSALS: Readonly<Record<JoinRefusalCode, string>> = {
  TICKET_EXPIRED: 'This ticket has expired.',
  INVITATION_USED: 'This ticket was already used by another machine.',
  INVITATION_REVOKED: 'This ticket was withdrawn.',
  INVITATION_UNKNOWN: 'This ticket is not known here.',
  BAD_REQUEST: 'The question could not be understood.',
  UPDATE_NEEDED: 'The other machine has an older version of Synod.',
  TRY_LATER: 'Nobody can be let in just now.',
};

const UNCOLLECTED_MAX = 256;

class Host implements JoinHost {
  readonly #port: JoinHostPort;
  readonly #clock: Clock;
  readonly #times: JoinHostTimes;
  readonly #admitting = new Map<string, Admitting>();
  /** Admitted joiners who may not know it yet, by invitation, with the time of the admission. */
  readonly #uncollected = new Map<string, number>();
  readonly #stopping = new AbortController();
  #conversations = 0;

  constructor(port: JoinHostPort, clock: Clock, times: JoinHostTimes) {
    this.#port = port;
    this.#clock = clock;
    this.#times = times;
  }

  readonly onJoin = async (stream: JoinStream): Promise<void> => {
    this.#conversations++;
    try {
      await this.#converse(stream);
    } catch (error) {
      this.#port.onProblem?.(error);
    } finally {
      this.#conversations--;
      await stream.close().catch(() => {});
    }
  };

  wantsDoor(): boolean {
    if (this.#stopping.signal.aborted) return false;
    const now = this.#clock.nowMs();
    for (const [name, since] of this.#uncollected) {
      if (now - since > this.#times.uncollectedMs) this.#uncollected.delete(name);
    }
    return this.#admitting.size > 0 || this.#uncollected.size > 0;
  }

  stop(): void {
    this.#stopping.abort();
  }

  inspect(): { conversations: number; admitting: number; uncollected: number } {
    return {
      conversations: this.#conversations,
      admitting: this.#admitting.size,
      uncollected: this.#uncollected.size,
    };
  }

  async #converse(stream: JoinStream): Promise<void> {
    const frame = await this.#question(stream);
    if (frame === null) return;
    const request = readRequest(frame);
    if ('refusal' in request) return this.#refuse(stream, request.refusal);
    const hearing = this.#hear(request.request, stream.peer);
    if ('refusal' in hearing) return this.#refuse(stream, hearing.refusal);
    await this.#hold(stream, request.request, hearing.admitting);
  }

  /** The guest's frame, or null where it hung up, broke off or stayed silent. */
  async #question(stream: JoinStream): Promise<Uint8Array | null> {
    const patience = deadline(this.#clock, this.#times.requestMs, this.#stopping.signal);
    try {
      return await stream.receive(patience.signal);
    } catch {
      return null;
    } finally {
      patience.clear();
    }
  }

  #hear(request: JoinRequest, joiner: PeerId): Hearing {
    if (this.#stopping.signal.aborted) return refusal('TRY_LATER');
    const { group, invitationKey: publicKey, incarnation, signature } = request;
    const bytes = invitationBytes({ group, peer: joiner, incarnation, name: request.name });
    if (!this.#port.verifier.verify({ publicKey, bytes, signature })) return refusal('BAD_REQUEST');

    const name = invitationName(request);
    const underWay = this.#admitting.get(name);
    if (underWay) {
      // Judged when it began: the invitation may have expired since.
      const same = underWay.joiner === joiner && underWay.incarnation === request.incarnation;
      return same
        ? { admitting: underWay }
        : refusal('TRY_LATER', 'Another machine is just being let in with this ticket.');
    }
    const code = this.#judge(this.#port.invitation(request.group, request.invitationKey), joiner);
    return code === null ? { admitting: this.#admit(name, request, joiner) } : refusal(code);
  }

  #judge(invitation: InvitationState, joiner: PeerId): JoinRefusalCode | null {
    switch (invitation.state) {
      case 'unknown':
        return 'INVITATION_UNKNOWN';
      case 'revoked':
        return 'INVITATION_REVOKED';
      case 'used':
        return invitation.by === joiner ? null : 'INVITATION_USED';
      case 'open': {
        const { expiresMs } = invitation;
        return expiresMs !== null && this.#clock.nowMs() >= expiresMs ? 'TICKET_EXPIRED' : null;
      }
    }
  }

  /** Begins to ask the group. From here on it no longer depends on the guest. */
  #admit(name: string, request: JoinRequest, joiner: PeerId): Admitting {
    const { group, invitationKey, incarnation, signature } = request;
    const listeners = new Set<() => void>();
    const onWaiting = (why: string) => {
      if (admitting.why === why) return;
      admitting.why = why;
      for (const listener of listeners) listener();
    };
    const question = { group, invitationKey, joiner, incarnation, signature, name: request.name };
    const result = Promise.resolve()
      .then(() => this.#port.admit(question, onWaiting, this.#stopping.signal))
      .catch((error: unknown): AdmitResult => {
        if (!this.#stopping.signal.aborted) this.#port.onProblem?.(error);
        return { ok: false, code: 'TRY_LATER' };
      })
      .then((judged) => {
        this.#admitting.delete(name);
        if (judged.ok) this.#expectCollection(name);
        return judged;
      });
    const admitting: Admitting = { joiner, incarnation, why: '', listeners, result };
    this.#admitting.set(name, admitting);
    return admitting;
  }

  #expectCollection(name: string): void {
    const [oldest] = this.#uncollected.keys();
    if (this.#uncollected.size >= UNCOLLECTED_MAX && oldest !== undefined) this.#uncollected.delete(oldest);
    this.#uncollected.delete(name);
    this.#uncollected.set(name, this.#clock.nowMs());
  }

  /** Keeps the guest informed until there is a result, the guest goes, or the conversation was long enough. */
  async #hold(stream: JoinStream, request: JoinRequest, admitting: Admitting): Promise<void> {
    const over = deadline(this.#clock, this.#times.holdMs + this.#times.farewellMs);
    // A guest has nothing more to say. One receive for the whole conversation: null or a frame or a break all mean that it is over.
    const farewell = stream.receive(over.signal).then(
      (frame) => frame === null,
      () => false,
    );
    try {
      const end = await this.#holdLine(stream, admitting, farewell);
      if (end === 'guest gone' || end === 'long enough') return;
      if (!end.ok) {
        send(stream, { type: 'refused', code: end.code, message: end.message ?? REFUSALS[end.code] });
      } else {
        const { rights, role } = end.admission;
        send(stream, { type: 'admitted', ...this.#port.welcome(request.group), rights, role });
      }
      const heard = await this.#orAfter(this.#times.farewellMs, farewell, false);
      if (heard && end.ok) this.#uncollected.delete(invitationName(request));
    } finally {
      over.clear();
    }
  }

  #holdLine(stream: JoinStream, admitting: Admitting, farewell: Promise<boolean>): Promise<HoldEnd> {
    return new Promise((resolve) => {
      const { signal } = this.#stopping;
      let cancelRepeat = () => {};
      const say = () => {
        cancelRepeat();
        if (!send(stream, { type: 'waiting', host: this.#port.selfName(), why: admitting.why }))
          return end('guest gone');
        cancelRepeat = this.#clock.after(this.#times.repeatMs, say);
      };
      const stop = () => end({ ok: false, code: 'TRY_LATER' });
      const cancelHold = this.#clock.after(this.#times.holdMs, () => end('long enough'));
      const end = (why: HoldEnd) => {
        cancelRepeat();
        cancelHold();
        admitting.listeners.delete(say);
        signal.removeEventListener('abort', stop);
        resolve(why);
      };
      admitting.listeners.add(say);
      signal.addEventListener('abort', stop, { once: true });
      admitting.result.then(end);
      farewell.then(() => end('guest gone'));
      cancelRepeat = this.#clock.after(this.#times.repeatMs, say);
      if (admitting.why !== '') say();
    });
  }

  async #refuse(stream: JoinStream, { code, message }: Refusal): Promise<void> {
    if (!send(stream, { type: 'refused', code, message })) return;
    const over = deadline(this.#clock, this.#times.farewellMs, this.#stopping.signal);
    await stream.receive(over.signal).catch(() => {});
    over.clear();
  }

  async #orAfter<T>(ms: number, promise: Promise<T>, otherwise: T): Promise<T> {
    const done = new AbortController();
    try {
      return await Promise.race([promise, pause(this.#clock, ms, done.signal).then(() => otherwise)]);
    } finally {
      done.abort();
    }
  }
}

function readRequest(frame: Uint8Array): { readonly request: JoinRequest } | { readonly refusal: Refusal } {
  try {
    return { request: decodeJoinRequest(frame) };
  } catch (error) {
    return refusal(error instanceof JoinVersionError ? 'UPDATE_NEEDED' : 'BAD_REQUEST');
  }
}

function refusal(code: JoinRefusalCode, message: string = REFUSALS[code]): { readonly refusal: Refusal } {
  return { refusal: { code, message } };
}

const invitationName = (request: JoinRequest): string => `${request.group} ${toHex(request.invitationKey)}`;

/** False where the guest is gone. */
function send(stream: JoinStream, answer: JoinAnswer): boolean {
  const frame = encodeJoinAnswer(answer);
  try {
    stream.send(frame);
    return true;
  } catch {
    return false;
  }
}

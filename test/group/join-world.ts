import { onTestFinished } from 'vitest';
import { compareBytes } from '../../shared/base/bytes.ts';
import { type PeerId, peerFromKey } from '../../shared/base/ids.ts';
import { type Joined, type JoinGroupOptions, type JoinOutcome, joinGroup } from '../../src-main/group/join-guest.ts';
import {
  type AdmitRequest,
  type AdmitResult,
  createJoinHost,
  type InvitationState,
  type JoinHost,
  type JoinHostPort,
} from '../../src-main/group/join-host.ts';
import { createInvitationKey, type Ticket } from '../../src-main/group/ticket.ts';
import { createVerifier } from '../../src-main/group/verifier.ts';
import { JoinDialError, type JoinStream } from '../../src-main/network/network.ts';
import { seeded, someGenesis, someGroup, someIncarnation, somePeer } from './made-up.ts';
import { ManualClock, settle } from './manual-clock.ts';
import { type StreamEnd, streamPair } from './stream-pair.ts';

export const HOST = somePeer(1);
export const GUEST = somePeer(2);
export const OTHER = somePeer(3);
export const GENESIS = someGenesis(7);
export const GROUP = someGroup(7);
const key = createInvitationKey(seeded(8));
export const INVITATION_KEY = key.publicKey;

/** One admission that the group is being asked for: the test decides. */
export interface Asked {
  readonly request: AdmitRequest;
  readonly signal: AbortSignal;
  wait(why: string): void;
  judge(result: AdmitResult): void;
  fail(error: Error): void;
}

/** Ana's machine with one open invitation, and machines that call it, on a clock that the test moves. */
export class JoinWorld {
  readonly clock = new ManualClock();
  invitation: InvitationState = { state: 'open', rights: 'writer', pinnedRole: null, expiresMs: null };
  genesis = GENESIS;
  readonly asked: Asked[] = [];
  readonly problems: unknown[] = [];
  readonly verifier = createVerifier();
  readonly host: JoinHost;
  /** What dialling does instead of reaching the host. */
  dial: 'host' | JoinDialError['code'] | 'hang' | ((stream: StreamEnd) => void) = 'host';
  dials = 0;
  readonly streams: { guest: StreamEnd; host: StreamEnd }[] = [];

  constructor() {
    const port: JoinHostPort = {
      selfName: () => 'Ana',
      invitation: (group, invitationKey) =>
        group === GROUP && compareBytes(invitationKey, INVITATION_KEY) === 0 ? this.invitation : { state: 'unknown' },
      admit: (request, wait, signal) =>
        new Promise((judge, fail) => this.asked.push({ request, signal, wait, judge, fail })),
      welcome: () => ({
        genesis: this.genesis,
        title: 'Ward 3',
        members: [{ peer: HOST, name: 'Ana', addresses: ['/ip4/10.20.4.17/tcp/4747'] }],
        info: Uint8Array.of(1, 2, 3),
      }),
      verifier: this.verifier,
      onProblem: (error) => this.problems.push(error),
    };
    this.host = createJoinHost(port, { clock: this.clock });
  }

  ticket(change: Partial<Ticket> = {}): Ticket {
    return {
      group: GROUP,
      addresses: ['/ip4/10.20.4.17/tcp/4747'],
      inviter: HOST,
      seed: key.seed,
      title: 'Ward 3',
      expiresMs: null,
      ...change,
    };
  }

  /** A stream to the host as if `peer` had dialled it. */
  call(peer: PeerId = GUEST): StreamEnd {
    const pair = streamPair(peer, HOST);
    this.streams.push(pair);
    this.host.onJoin(pair.host).catch((error: unknown) => this.problems.push(error));
    return pair.guest;
  }

  /** Starts a guest of the production code and keeps what it says. */
  join(change: Partial<JoinGroupOptions> = {}, peer: PeerId = GUEST): JoinAttempt {
    return new JoinAttempt(this, change, peer);
  }

  async dialJoin(from: PeerId, signal: AbortSignal): Promise<JoinStream> {
    this.dials++;
    const { dial } = this;
    if (dial === 'hang') {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      throw new JoinDialError('ABORTED', 'given up');
    }
    if (typeof dial === 'function') {
      const pair = streamPair(from, HOST);
      this.streams.push(pair);
      dial(pair.host);
      return pair.guest;
    }
    if (dial !== 'host') throw new JoinDialError(dial, 'as the test has it');
    return this.call(from);
  }
}

export class JoinAttempt {
  readonly outcomes: JoinOutcome[] = [];
  readonly controller = new AbortController();
  joined: Joined | undefined;
  error: unknown;
  readonly done: Promise<void>;

  constructor(world: JoinWorld, change: Partial<JoinGroupOptions>, peer: PeerId) {
    this.done = joinGroup({
      network: { self: peer, dialJoin: (_peer, _addresses, signal) => world.dialJoin(peer, signal) },
      ticket: world.ticket(),
      incarnation: someIncarnation(5),
      name: 'Ben',
      signal: this.controller.signal,
      onOutcome: (outcome) => this.outcomes.push(outcome),
      clock: world.clock,
      ...change,
    }).then(
      (joined) => {
        this.joined = joined;
      },
      (error: unknown) => {
        this.error = error;
      },
    );
    onTestFinished(() => this.controller.abort());
  }

  get codes(): string[] {
    return this.outcomes.map((outcome) => outcome.code);
  }

  async abort(): Promise<void> {
    this.controller.abort();
    await settle();
  }
}

export const admitted: AdmitResult = { ok: true, admission: { rights: 'writer', role: 'learner' } };
export const strangerKey = (seed: number): PeerId => peerFromKey(seeded(seed)(32));

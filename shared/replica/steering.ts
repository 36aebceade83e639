import { assert } from '../base/assert.ts';
import type { PeerId, Slot } from '../base/ids.ts';
import { type Configuration, majorities, type Voter } from '../consensus/configuration.ts';
import type { Core, CoreView } from '../consensus/core.ts';
import type { Input } from '../consensus/io.ts';
import type { DocumentReader, Member } from '../document/index.ts';
import { type Machine, missingIn, type PolicyTimes, type PolicyWhy, type Wanted, wantedVoters } from './policy.ts';
import { Attendance } from './presence.ts';

/** What the voters will be next, and what that waits for. */
export interface NextVoters {
  readonly voters: readonly PeerId[];
  readonly joins: readonly PeerId[];
  readonly leaves: readonly PeerId[];
  /** `sizes`: the same voters, other quorums. */
  readonly why: PolicyWhy | 'sizes';
  readonly waitsFor: VotersWait | null;
}

/**
 * - `here`: these are away; `holding`: these don't hold everything yet
 * - `steady`: these have to be here for longer, so much at least. None named: this peer has looked too briefly to judge
 * - `rest`: another change was made a moment ago
 * - `quorum`: too few of those who vote now are here
 * - `leader`: nobody leads
 * - `core`: what the consensus says, in its words
 */
export type VotersWait =
  | { readonly for: 'here' | 'holding'; readonly peers: readonly PeerId[] }
  | { readonly for: 'steady'; readonly peers: readonly PeerId[]; readonly ticks: number }
  | { readonly for: 'rest'; readonly ticks: number }
  | { readonly for: 'quorum' | 'leader' }
  | { readonly for: 'core'; readonly words: string };

export interface Voting {
  /** There are members whose role nobody gave by hand: the policy decides about them. */
  readonly policy: boolean;
  readonly next: NextVoters | null;
}

export interface SteeringInit {
  readonly self: PeerId;
  readonly staysOn: boolean;
  readonly isSound: boolean;
  /** Whoever lacks no more slots than this holds nearly everything. */
  readonly alpha: number;
  readonly times: PolicyTimes;
  readonly core: Pick<Core, 'inspect' | 'beatOf' | 'changeObstacle'>;
  readonly reader: DocumentReader;
}

type Reconfigure = Extract<Input, { type: 'reconfigure' }>;
type HandOver = Extract<Input, { type: 'hand-over' }>;

/** A hand-over that came to nothing is tried again after this: 5 s. Ticks. */
const HAND_OVER_AGAIN_TICKS = 100;

/** What a leader does about who votes and who leads: one thing at a time, and only what the core can do now. Tells everybody what comes next. */
export class Steering {
  readonly #init: SteeringInit;
  readonly #attendance: Attendance;
  #now = 0;
  #nowMs = 0;
  #configuration: Slot | null = null;
  #changedTick = Number.NEGATIVE_INFINITY;
  #leadsSinceTick: number | null = null;
  #handedOverTick = Number.NEGATIVE_INFINITY;

  constructor(init: SteeringInit) {
    assert(init.times.steadyTicks > 0, 'nobody is steady at once', init.times);
    this.#init = init;
    this.#attendance = new Attendance(init.self, init.staysOn);
  }

  /**
   * @param peers whom this peer exchanges heartbeats with
   * @param nowMs this peer's clock, for those who said until when they are away
   */
  tick(now: number, nowMs: number, peers: readonly PeerId[]): readonly (Reconfigure | HandOver)[] {
    this.#now = now;
    this.#nowMs = nowMs;
    const { core, reader } = this.#init;
    const view = core.inspect();
    this.#attendance.look(now, peers, (peer) => core.beatOf(peer));
    // What was in force when this peer began to look is no change that it saw.
    if (this.#configuration !== view.configuration.slot && this.#configuration !== null) this.#changedTick = now;
    this.#configuration = view.configuration.slot;
    this.#leadsSinceTick = view.leads ? (this.#leadsSinceTick ?? now) : null;
    if (!view.leads) return [];
    const machines = this.#machines(reader.members(), view);
    return [this.#reconfigure(view, machines), this.#handOver(view, machines)].filter((input) => input !== null);
  }

  #reconfigure(view: CoreView, machines: readonly Machine[]): Reconfigure | null {
    const now = view.configuration.configuration;
    const wanted = wantedVoters(now, machines, this.#isInformed);
    const next = this.#sized(now, wanted);
    if (next === null || this.#hold(view, wanted) !== null) return null;
    return { type: 'reconfigure', ...next };
  }

  /** What keeps a change waiting that nobody asked for. */
  #hold(view: CoreView, wanted: Wanted | null): VotersWait | null {
    if (wanted === null || wanted.isAsked) return null;
    const ticks = this.#changedTick + this.#init.times.restTicks - this.#now;
    if (ticks > 0) return { for: 'rest', ticks };
    const { q1, q2 } = view.configuration.configuration;
    return view.reachable < Math.max(q1, q2) ? { for: 'quorum' } : null;
  }

  /** Null where voters and sizes are as they should be. */
  #sized(now: Configuration, wanted: Wanted | null): Pick<Configuration, 'voters' | 'q1' | 'q2'> | null {
    const voters = wanted?.voters ?? now.voters;
    const { quorum } = this.#init.reader.meta();
    const { q1, q2 } =
      quorum?.voters === voters.length ? { q1: quorum.phase1, q2: quorum.phase2 } : majorities(voters.length);
    return wanted === null && now.q1 === q1 && now.q2 === q2 ? null : { voters, q1, q2 };
  }

  #handOver(view: CoreView, machines: readonly Machine[]): HandOver | null {
    const { self, staysOn, times } = this.#init;
    const [to] = this.#successors(view, machines);
    if (to === undefined) return null;
    const isAway = machines.some((m) => m.peer === self && m.isAway);
    const sinceTicks = this.#now - this.#handedOverTick;
    if (isAway ? sinceTicks < HAND_OVER_AGAIN_TICKS : staysOn || to.staysOn !== true || !to.isSteady) return null;
    const ledTicks = this.#now - (this.#leadsSinceTick ?? this.#now);
    if (!isAway && (ledTicks < times.reignTicks || sinceTicks < times.reignTicks)) return null;
    this.#handedOverTick = this.#now;
    return { type: 'hand-over', to: to.peer };
  }

  /** The machine that stays on to which this peer hands over when it stops; null: whoever is furthest along, which the core knows. */
  successor(): PeerId | null {
    const view = this.#init.core.inspect();
    const [best] = this.#successors(view, this.#machines(this.#init.reader.members(), view));
    return best?.staysOn === true ? best.peer : null;
  }

  /** Who could lead in this peer's place, the best first: machines that stay on, then whoever has been here for longer. */
  #successors({ window }: CoreView, machines: readonly Machine[]): readonly Machine[] {
    const mayLead = ({ peer, incarnation }: Machine): boolean =>
      window.every(({ configuration: c }) =>
        c.voters.some((v) => v.peer === peer && v.incarnation === incarnation && !v.witness),
      );
    return machines
      .filter((m) => m.peer !== this.#init.self && m.isReady && mayLead(m))
      .toSorted((a, b) => Number(b.staysOn === true) - Number(a.staysOn === true) || b.presence - a.presence);
  }

  /** A peer that has just started knows nobody's presence: it leaves the policy alone. */
  get #isInformed(): boolean {
    return this.#attendance.lookedTicks >= this.#init.times.steadyTicks;
  }

  /** @param isHoping whoever is ready counts as steady */
  #machines(members: readonly Member[], { prefix }: CoreView, isHoping = false): readonly Machine[] {
    const { self, isSound, alpha, times, core } = this.#init;
    return members.map((member): Machine => {
      const { peer, incarnation, pinned, away } = member;
      const { isHere, hereTicks, goneTicks, damagedTicks, staysOn } = this.#attendance.of(peer);
      const beat = core.beatOf(peer);
      const isAway = away !== null && (away.untilMs === null || away.untilMs > this.#nowMs);
      const canVote = peer === self ? isSound : beat?.votes === true && beat.prefix + alpha >= prefix;
      const isReady = isHere && canVote && !isAway;
      return {
        peer,
        incarnation,
        pinned,
        isReady,
        isSteady: isReady && (isHoping || hereTicks >= times.steadyTicks),
        isHere,
        isAway,
        isLost: isAway || goneTicks >= times.goneTicks || damagedTicks >= times.steadyTicks,
        staysOn,
        presence: Math.floor(hereTicks / times.presenceTicks),
      };
    });
  }

  /** How the voters will change next, as far as this peer can tell; the leader decides. */
  voting(): Voting {
    const view = this.#init.core.inspect();
    const members = this.#init.reader.members();
    return { policy: members.some((m) => m.pinned === null), next: this.#next(view, members) };
  }

  #next(view: CoreView, members: readonly Member[]): NextVoters | null {
    const now = view.configuration.configuration;
    const machines = this.#machines(members, view);
    const wanted = wantedVoters(now, machines, this.#isInformed);
    const sized = this.#sized(now, wanted);
    if (sized !== null) {
      const waitsFor = this.#hold(view, wanted) ?? this.#obstacle(view, sized);
      return nextVoters(now, sized.voters, wanted?.why ?? 'sizes', waitsFor);
    }
    return this.#pinnedNext(now, machines) ?? this.#hopedNext(view, members);
  }

  #obstacle(view: CoreView, next: Pick<Configuration, 'voters' | 'q1' | 'q2'>): VotersWait | null {
    if (view.leader === null) return { for: 'leader' };
    const words = view.leads ? this.#init.core.changeObstacle(next) : null;
    return words === null ? null : { for: 'core', words };
  }

  /** Votes that were given by hand, to machines that can't take them yet. */
  #pinnedNext(now: Configuration, machines: readonly Machine[]): NextVoters | null {
    const isNew = ({ peer, pinned, isAway }: Machine): boolean =>
      (pinned === 'voter' || pinned === 'witness') && !isAway && !now.voters.some((v) => v.peer === peer);
    const waiting = machines.filter((m) => isNew(m) && !m.isReady);
    if (waiting.length === 0) return null;
    const absent = waiting.filter((m) => !m.isHere);
    const peers = (absent.length > 0 ? absent : waiting).map((m) => m.peer);
    const added = waiting.map(({ peer, incarnation, pinned }) => ({
      peer,
      incarnation,
      witness: pinned === 'witness',
    }));
    return nextVoters(now, [...now.voters, ...added], 'hand', { for: absent.length > 0 ? 'here' : 'holding', peers });
  }

  /** What it comes to if everybody who is here stays. */
  #hopedNext(view: CoreView, members: readonly Member[]): NextVoters | null {
    const now = view.configuration.configuration;
    const wanted = wantedVoters(now, this.#machines(members, view, true), true);
    if (wanted === null) return null;
    const { steadyTicks } = this.#init.times;
    const left = (peer: PeerId): number => steadyTicks - this.#attendance.of(peer).hereTicks;
    const peers = missingIn(wanted.voters, now.voters).filter((peer) => left(peer) > 0);
    const ticks = Math.max(1, steadyTicks - this.#attendance.lookedTicks, ...peers.map(left));
    return nextVoters(now, wanted.voters, wanted.why, { for: 'steady', peers, ticks });
  }
}

function nextVoters(
  now: Configuration,
  voters: readonly Voter[],
  why: NextVoters['why'],
  waitsFor: VotersWait | null,
): NextVoters {
  return {
    voters: voters.map((v) => v.peer),
    joins: missingIn(voters, now.voters),
    leaves: missingIn(now.voters, voters),
    why,
    waitsFor,
  };
}

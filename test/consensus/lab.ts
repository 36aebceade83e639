import { type Incarnation, type PeerId, type Slot, slot } from '../../shared/base/ids.ts';
import type { Ballot } from '../../shared/consensus/ballot.ts';
import { decodeMessage, encodeMessage } from '../../shared/consensus/codec.ts';
import type { Configuration, InForce } from '../../shared/consensus/configuration.ts';
import { majorities } from '../../shared/consensus/configuration.ts';
import { Core, type CoreView } from '../../shared/consensus/core.ts';
import type { Effect, Input, LogOp } from '../../shared/consensus/io.ts';
import type { Acceptance, Restored } from '../../shared/consensus/ledger.ts';
import type { Message } from '../../shared/consensus/messages.ts';
import type { Value } from '../../shared/consensus/value.ts';
import { acceptanceKey, Checkers, type Witnessed } from './checkers.ts';
import {
  configuration,
  GENESIS_DIGEST,
  hashPayload,
  incarnationOf,
  nameOf,
  peerOf,
  showBallot,
  showValue,
  showVoters,
  value,
  voters,
} from './names.ts';

/** A disk in memory: survives a crash. */
export class Disk {
  promised: Ballot | null = null;
  prefix = 0;
  digest: Uint8Array = GENESIS_DIGEST;
  readonly log = new Map<number, { ballot: Ballot | null; value: Value }>();
  readonly digests = new Map<number, Uint8Array>();
  readonly inForce: InForce[] = [];
  blockedFrom: Slot | null = null;
  /** For the checkers only. */
  readonly everAccepted = new Map<string, string>();

  restored(): Restored {
    const accepted = new Map<Slot, Acceptance>();
    for (const [at, { ballot, value }] of [...this.log].sort((a, b) => a[0] - b[0])) {
      if (at > this.prefix && ballot !== null) accepted.set(slot(at), { ballot, value });
    }
    const { promised, prefix, digest, inForce, blockedFrom } = this;
    return { promised, prefix: slot(prefix), digest, accepted, inForce: [...inForce], blockedFrom };
  }
}

/** One peer of the laboratory. */
export interface Host extends Witnessed {
  readonly name: string;
  incarnation: Incarnation;
  generation: number;
  run: number;
  disk: Disk;
  votes: boolean;
  /** Null while it is down. */
  core: Core | null;
  /** Its disk takes writes, but does not finish them. */
  hung: boolean;
  inputs: Input[];
  /** A turn whose write is not finished yet. */
  underWay: Effect[] | null;
  /** Decided, not on the disk. */
  waiting: LogOp[];
  /** The chosen values that it could serve, written or not. */
  held: Map<number, { value: Value; digest: Uint8Array }>;
  barriers: { id: number; slot: number }[];
}

export interface Envelope {
  readonly id: number;
  readonly from: string;
  readonly to: string;
  readonly incarnation: Incarnation;
  readonly message: Message;
}

export interface LabInit {
  /** `'ABC'`; a small letter is a witness. */
  readonly voters: string;
  /** Members without a vote. */
  readonly learners?: string;
  readonly alpha?: number;
  readonly q1?: number;
  readonly q2?: number;
  /** For the cores' backoff. By default it gives 0 always. */
  readonly random?: () => number;
  /** Send every message through its encoding. True unless told. */
  readonly encoded?: boolean;
  /** How many values one answer to a Fetch carries. */
  readonly chunk?: number;
  /** A weakened core, to see the checkers catch it. */
  readonly make?: (init: ConstructorParameters<typeof Core>[0]) => Core;
}

/**
 * A deterministic laboratory: cores with disks in memory and one bag of messages, all moved by hand. Effects are carried out in the driver's
 * order: sends, then the write, then what waited for it, then commits. The checkers watch everything from outside.
 */
export class Lab {
  readonly hosts: ReadonlyMap<string, Host>;
  readonly checkers: Checkers;
  readonly alpha: number;
  readonly genesis: Configuration;
  /** What was sent and has not arrived. */
  bag: Envelope[] = [];
  /** One line an event; heartbeats are left out. */
  readonly log: string[] = [];
  /** Changes or swallows (null) messages as they leave, after the checkers saw them: for planted faults. */
  onLeave: (e: Envelope) => Message | null = (e) => e.message;
  /** Called as a message would be delivered: true loses it. */
  loses: (e: Envelope) => boolean = () => false;
  /** Answers to Fetch are changed or withheld here. */
  onServe: (from: string, m: Message & { type: 'values' }) => Message | null = (_, m) => m;
  /** Count one's own acceptances before they are durable: a planted fault. */
  eagerSelf = false;
  /** Let messages leave before the write that they speak of: a planted fault. */
  sendsFirst = false;
  /** What a crash does to the disk: a planted fault. */
  onCrash: (disk: Disk) => void = () => {};
  readonly #init: LabInit;
  readonly #cut = new Set<string>();
  #nextId = 1;

  constructor(init: LabInit) {
    this.#init = init;
    this.alpha = init.alpha ?? 8;
    const list = voters(init.voters);
    const { q1, q2 } = majorities(list.length);
    this.genesis = configuration(init.voters, 0, { q1: init.q1 ?? q1, q2: init.q2 ?? q2 });
    this.checkers = new Checkers(this.alpha, this.genesis);
    const names = [...init.voters.toUpperCase(), ...(init.learners ?? '')];
    this.hosts = new Map(names.map((name) => [name, this.#newHost(name)]));
    for (const host of this.hosts.values()) this.#start(host);
  }

  #newHost(name: string): Host {
    return {
      name,
      peer: peerOf(name),
      incarnation: incarnationOf(name),
      generation: 1,
      run: 0,
      disk: new Disk(),
      votes: true,
      core: null,
      hung: false,
      inputs: [],
      underWay: null,
      waiting: [],
      held: new Map(),
      barriers: [],
    };
  }

  host(name: string): Host {
    const host = this.hosts.get(name);
    if (!host) throw new Error(`nobody is called ${name}`);
    return host;
  }

  core(name: string): Core {
    const { core } = this.host(name);
    if (!core) throw new Error(`${name} is down`);
    return core;
  }

  view(name: string): CoreView {
    return this.core(name).inspect();
  }

  get names(): string[] {
    return [...this.hosts.keys()];
  }

  /** Those that run and lead, by their own word. */
  get leaders(): string[] {
    return this.names.filter((name) => this.host(name).core?.inspect().leads);
  }

  /** What `name` committed, as `['noop', 'x']`. */
  committed(name: string): string[] {
    const { held } = this.host(name);
    return [...held].sort((a, b) => a[0] - b[0]).map(([, { value }]) => showValue(value));
  }

  // --- starting and stopping ---

  #start(host: Host): void {
    const { disk } = host;
    host.run++;
    host.inputs = [];
    host.underWay = null;
    host.waiting = [];
    host.hung = false;
    host.held = new Map();
    for (let at = 1; at <= disk.prefix; at++) {
      const record = disk.log.get(at);
      if (record) host.held.set(at, { value: record.value, digest: disk.digests.get(at) as Uint8Array });
    }
    const init = {
      self: { peer: host.peer, incarnation: host.incarnation },
      alpha: this.alpha,
      genesis: this.genesis,
      restored: disk.restored(),
      votes: host.votes,
      random: this.#init.random ?? (() => 0),
    };
    host.core = this.#init.make ? this.#init.make(init) : new Core(init);
    const members = [...(this.hosts ?? new Map()).keys()].filter((name) => name !== host.name);
    const names = members.length > 0 ? members : [...this.#init.voters.toUpperCase(), ...(this.#init.learners ?? '')];
    const peers = names.filter((name) => name !== host.name).map(peerOf);
    this.input(host.name, { type: 'members', peers });
  }

  /** Power is lost: what was not on the disk is gone. */
  crash(...names: string[]): void {
    for (const name of names) {
      const host = this.host(name);
      host.core = null;
      host.underWay = null;
      host.waiting = [];
      host.inputs = [];
      this.onCrash(host.disk);
      this.#say(`${name} crashes`);
    }
  }

  restart(...names: string[]): void {
    for (const name of names) {
      this.#say(`${name} restarts`);
      this.#start(this.host(name));
    }
  }

  /** The store is lost: an empty one under a new incarnation takes its place (R7). */
  wipe(name: string): void {
    const host = this.host(name);
    host.core = null;
    host.disk = new Disk();
    host.generation++;
    host.incarnation = incarnationOf(name, host.generation);
    this.#say(`${name} loses its store`);
    this.#start(host);
  }

  /** The disk takes writes and never says that they are done, until `unhang`. */
  hang(name: string): void {
    this.host(name).hung = true;
    this.#say(`${name}'s disk hangs`);
  }

  unhang(name: string): void {
    const host = this.host(name);
    host.hung = false;
    this.#say(`${name}'s disk goes on`);
    this.#pump(host);
  }

  // --- turns ---

  /** These inputs are one turn (more of them, where a turn is under way). */
  input(name: string, ...inputs: Input[]): void {
    const host = this.host(name);
    if (host.core === null) return;
    host.inputs.push(...inputs);
    this.#pump(host);
  }

  #pump(host: Host): void {
    if (host.underWay && !host.hung) this.#finish(host);
    while (host.core && !host.underWay && host.inputs.length > 0) {
      this.#begin(host);
      if (!host.hung) this.#finish(host);
    }
  }

  #begin(host: Host): void {
    const effects: Effect[] = [];
    const step = (input: Input): void => {
      if (input.type === 'propose' && host.core?.room() === 0) return;
      for (const e of host.core?.step(input) ?? []) {
        effects.push(e);
        this.#note(host, e);
      }
    };
    for (const input of host.inputs.splice(0)) step(input);
    step({ type: 'turn-end' });
    if (this.eagerSelf) this.#countOwn(host, effects, step);
    host.underWay = effects;
    for (const e of effects) {
      if (e.type === 'send') for (const to of e.to) this.#leaves(host, to, e.message);
      else if (e.type === 'serve') this.#serve(host, e.to, e.from);
    }
  }

  /** The planted fault: own acceptances are counted although the write has not even begun. */
  #countOwn(host: Host, effects: readonly Effect[], step: (input: Input) => void): void {
    for (const e of [...effects]) {
      if (e.type !== 'sendAfterPersist' || e.message.type !== 'accepted' || !e.to.includes(host.peer)) continue;
      step({ type: 'message', from: host.peer, incarnation: host.incarnation, message: e.message });
    }
  }

  #note(host: Host, e: Effect): void {
    switch (e.type) {
      case 'persist':
        host.waiting.push(e.op);
        break;
      case 'commit':
        this.checkers.commits(host, e.slot, e.value, e.digest);
        host.held.set(e.slot, { value: e.value, digest: e.digest });
        this.#say(`${host.name} commits ${e.slot}=${showValue(e.value)}`);
        break;
      case 'leader':
        this.#say(
          e.self
            ? `${host.name} leads ${showBallot(e.ballot)}`
            : e.leader === null
              ? `${host.name} knows no leader`
              : `${host.name} follows ${showBallot(e.ballot)}`,
        );
        break;
      case 'barrier':
        host.barriers.push({ id: e.id, slot: e.slot });
        this.#say(`${host.name} may serve read ${e.id} at ${e.slot}`);
        break;
    }
  }

  #finish(host: Host): void {
    const effects = host.underWay ?? [];
    host.underWay = null;
    const binding = effects.some(
      (e) =>
        e.type === 'sendAfterBatch' ||
        e.type === 'sendAfterPersist' ||
        (e.type === 'persist' && (e.op.type === 'promise' || e.op.type === 'accept')),
    );
    if (binding && !this.sendsFirst) this.#flush(host);
    for (const e of effects) {
      if (e.type !== 'sendAfterBatch' && e.type !== 'sendAfterPersist') continue;
      for (const to of e.to) {
        if (to !== host.peer) this.#leaves(host, to, e.message);
        else host.inputs.push({ type: 'message', from: host.peer, incarnation: host.incarnation, message: e.message });
      }
    }
    if (binding && this.sendsFirst) this.#flush(host);
    if (host.inputs.length > 0) this.#pump(host);
  }

  /** One atomic batch. */
  #flush(host: Host): void {
    const ops = host.waiting;
    host.waiting = [];
    if (ops.length === 0) return;
    const { disk } = host;
    for (const op of ops) {
      switch (op.type) {
        case 'promise':
          this.checkers.promised(host, disk.promised, op.ballot);
          disk.promised = op.ballot;
          break;
        case 'accept':
          disk.log.set(op.slot, { ballot: op.ballot, value: op.value });
          disk.everAccepted.set(acceptanceKey(op.slot, op.ballot), showValue(op.value));
          break;
        case 'choose':
          disk.prefix = op.slot;
          disk.digest = op.digest;
          disk.digests.set(op.slot, op.digest);
          if (op.value !== null) disk.log.set(op.slot, { ballot: null, value: op.value });
          break;
        case 'in-force':
          disk.inForce.push(op.inForce);
          break;
        case 'blocked':
          disk.blockedFrom = op.from;
          break;
      }
    }
    for (const op of ops) if (op.type === 'accept') this.checkers.accepted(host, op.slot, op.ballot, op.value);
    this.#say(`${host.name} writes ${ops.map(showOp).join(', ')}`);
  }

  #serve(host: Host, to: PeerId, from: number): void {
    const list: Value[] = [];
    const prefix = host.core?.prefix ?? 0;
    let digest: Uint8Array | null = null;
    for (let at = from; at <= prefix && list.length < (this.#init.chunk ?? 100); at++) {
      const held = host.held.get(at);
      if (!held) break;
      list.push(held.value);
      digest = held.digest;
    }
    if (digest === null) return;
    const m = this.onServe(host.name, { type: 'values', from: slot(from), values: list, digest, prefix: slot(prefix) });
    if (m) this.#leaves(host, to, m);
  }

  // --- messages ---

  #leaves(host: Host, to: PeerId, message: Message): void {
    this.checkers.leaves(host, message);
    this.post(host.name, nameOf(to), message);
  }

  /** Puts a message into the bag as if `from` had sent it. */
  post(from: string, to: string, message: Message, incarnation = this.host(from).incarnation): void {
    const envelope = { id: this.#nextId++, from, to, incarnation, message };
    const leaving = this.onLeave(envelope);
    if (leaving === null) return;
    this.bag.push({ ...envelope, message: this.#throughWire(leaving) });
    if (leaving.type !== 'heartbeat') this.#say(`${from}>${to} ${showMessage(leaving)}`);
  }

  #throughWire(m: Message): Message {
    return (this.#init.encoded ?? true) ? decodeMessage(encodeMessage(m), hashPayload) : m;
  }

  /**
   * Those in the bag that fit `pattern`: `A>B accept`, `*>B`, `A>* promise|nack`. What is left out fits everything.
   */
  select(pattern: string): Envelope[] {
    const [link = '*>*', types] = pattern.split(' ');
    const [from = '*', to = '*'] = link.split('>');
    return this.bag.filter(
      (e) =>
        (from === '*' || from.includes(e.from)) &&
        (to === '*' || to.includes(e.to)) &&
        (types === undefined || types.split('|').includes(e.message.type)),
    );
  }

  /** Delivers what fits and is in the bag now, oldest first. Returns how many there were. */
  deliver(pattern = '*>*'): number {
    const list = this.select(pattern);
    for (const e of list) this.deliverOne(e);
    return list.length;
  }

  deliverOne(e: Envelope): void {
    const i = this.bag.indexOf(e);
    if (i < 0) return;
    this.bag.splice(i, 1);
    if (this.#cut.has(`${e.from}>${e.to}`) || this.loses(e)) return;
    this.#arrives(e);
  }

  #arrives(e: Envelope): void {
    const host = this.hosts.get(e.to);
    if (!host?.core) return;
    this.input(e.to, {
      type: 'message',
      from: peerOf(e.from),
      incarnation: e.incarnation,
      message: e.message,
    });
  }

  /** Takes what fits out of the bag, as inputs for one turn of the receiver. */
  take(pattern: string): Input[] {
    const list = this.select(pattern);
    this.bag = this.bag.filter((e) => !list.includes(e));
    return list.map(({ from, incarnation, message }) => ({
      type: 'message',
      from: peerOf(from),
      incarnation,
      message,
    }));
  }

  drop(pattern = '*>*'): number {
    const list = new Set(this.select(pattern));
    this.bag = this.bag.filter((e) => !list.has(e));
    return list.size;
  }

  /** Puts a second copy of what fits into the bag. */
  duplicate(pattern = '*>*'): void {
    for (const e of this.select(pattern)) this.bag.push({ ...e, id: this.#nextId++ });
  }

  /** Until the bag is empty. */
  settle(): void {
    for (let turns = 0; this.bag.length > 0; turns++) {
      if (turns > 100_000)
        throw new Error(`the bag doesn't empty: ${this.bag.slice(0, 5).map((e) => showMessage(e.message))}`);
      this.deliverOne(this.bag[0] as Envelope);
    }
  }

  /** `cut('A>B')` one way, `cut('A-BC')` both ways between A and each of B and C. Messages are lost from then on. */
  cut(...links: string[]): void {
    for (const link of links) for (const way of ways(link)) this.#cut.add(way);
  }

  mend(...links: string[]): void {
    for (const link of links) for (const way of ways(link)) this.#cut.delete(way);
  }

  /** Only these links work. */
  only(...links: string[]): void {
    for (const a of this.names) for (const b of this.names) if (a !== b) this.#cut.add(`${a}>${b}`);
    this.mend(...links);
  }

  heal(): void {
    this.#cut.clear();
  }

  // --- what people do ---

  /** Time passes for these (or for all), and what is sent arrives within the tick. */
  tick(times = 1, names: readonly string[] = this.names): void {
    for (let i = 0; i < times; i++) {
      for (const name of names) this.input(name, { type: 'tick' });
      this.settle();
    }
  }

  /** Ticks until `what` holds. Returns how many it took. */
  tickUntil(what: () => boolean, max: number, names: readonly string[] = this.names): number {
    for (let i = 0; i <= max; i++) {
      if (what()) return i;
      this.tick(1, names);
    }
    throw new Error(`not within ${max} ticks:\n${this.describe()}\n${this.log.slice(-40).join('\n')}`);
  }

  /** The leader proposes a value of commands. False where it has no room. */
  propose(name: string, ...texts: string[]): boolean {
    let taken = true;
    for (const text of texts) {
      taken &&= this.core(name).room() > 0;
      this.input(name, { type: 'propose', value: value(text), afterBatch: false });
    }
    return taken;
  }

  reconfigure(name: string, to: string, sizes: { q1?: number; q2?: number } = {}): void {
    const c = configuration(to, 0, sizes);
    this.input(name, { type: 'reconfigure', voters: c.voters, q1: c.q1, q2: c.q2 });
  }

  barrier(name: string, id: number): void {
    this.input(name, { type: 'barrier', id });
  }

  /** Has `name` try to lead at once, as a transfer from `asked` (whoever is next) would make it do. */
  campaign(name: string, asked = this.names.find((n) => n !== name) ?? 'Z'): void {
    const round = Math.max(1, this.core(name).promised?.round ?? 1);
    const incarnation = this.hosts.get(asked)?.incarnation ?? incarnationOf(asked);
    this.input(name, {
      type: 'message',
      from: peerOf(asked),
      incarnation,
      message: { type: 'transfer', ballot: { round, peer: peerOf(asked), incarnation } },
    });
  }

  /** All hear each other, then `name` campaigns and everything arrives: it leads, and its first no-op is committed. */
  elect(name: string): void {
    this.tick(10);
    this.campaign(name);
    this.settle();
    if (!this.view(name).leads) throw new Error(`${name} does not lead:\n${this.log.slice(-30).join('\n')}`);
  }

  /** From the first tick on, as in life. Returns who leads. */
  electByTime(max = 200): string {
    this.tickUntil(() => this.leaders.length > 0, max);
    return this.leaders[0] as string;
  }

  describe(): string {
    return this.names
      .map((name) => {
        const host = this.host(name);
        if (!host.core) return `${name} down`;
        const v = host.core.inspect();
        const window = v.window.map((c) => `{${showVoters(c.configuration.voters)}}@${c.slot}`).join(' ');
        const accepted = [...host.core.accepted].map(([s, a]) => `${s}=${showValue(a.value)}@${showBallot(a.ballot)}`);
        return (
          `${name}${v.leads ? ' LEADS' : ''} leader ${v.leader ? nameOf(v.leader) : '-'} promised ${showBallot(v.promised)}` +
          ` prefix ${v.prefix} ${window} flights ${v.inFlight} fetching ${v.fetching?.replace(/ from (.*)/, (_, p) => ` from ${nameOf(p)}`) ?? '-'}` +
          ` accepted [${accepted.join(' ')}]${host.hung ? ' HUNG' : ''}`
        );
      })
      .join('\n');
  }

  #say(line: string): void {
    this.log.push(line);
  }
}

function ways(link: string): string[] {
  const both = link.includes('-');
  const [left = '', right = ''] = link.split(both ? '-' : '>');
  return [...left].flatMap((a) => [...right].flatMap((b) => (both ? [`${a}>${b}`, `${b}>${a}`] : [`${a}>${b}`])));
}

export function showOp(op: LogOp): string {
  switch (op.type) {
    case 'promise':
      return `promise ${showBallot(op.ballot)}`;
    case 'accept':
      return `${op.slot}=${showValue(op.value)} under ${showBallot(op.ballot)}`;
    case 'choose':
      return `chosen ${op.slot}${op.value === null ? '' : `=${showValue(op.value)}`}`;
    case 'in-force':
      return `{${showVoters(op.inForce.configuration.voters)}} from ${op.inForce.from}`;
    case 'blocked':
      return `blocked from ${op.from}`;
  }
}

export function showMessage(m: Message): string {
  switch (m.type) {
    case 'prepare':
      return `prepare ${showBallot(m.ballot)} configuration ${m.configuration} from ${m.slot}`;
    case 'promise': {
      const rows = m.accepted.map((a) => ` ${a.slot}=${showValue(a.value)}@${showBallot(a.ballot)}`).join('');
      const part = m.parts > 1 ? ` part ${m.part + 1}/${m.parts}` : '';
      return `promise ${showBallot(m.ballot)} configuration ${m.configuration} floor ${m.floor}${part}${rows}`;
    }
    case 'accept':
      return `accept ${showBallot(m.ballot)} ${m.slot}=${showValue(m.value)} watermark ${m.watermark}`;
    case 'accepted':
      return `accepted ${showBallot(m.ballot)} ${m.slots.join(' ')}`;
    case 'nack':
      return `nack ${showBallot(m.ballot)} ${m.reason === 'ballot' ? `promised ${showBallot(m.promised)}` : 'a leader is heard'}`;
    case 'behind':
      return `behind ${showBallot(m.ballot)} ${m.slot}: ${m.lacks === 'me' ? 'I lack' : 'you lack'}, prefix ${m.prefix}`;
    case 'commit':
      return `commit ${showBallot(m.ballot)} up to ${m.watermark}`;
    case 'heartbeat':
      return `heartbeat ${m.leading ? `leading ${showBallot(m.leading)}` : ''} prefix ${m.prefix}`;
    case 'fetch':
      return `fetch from ${m.from}`;
    case 'not-held':
      return `not held at ${m.from}, from ${m.held} on`;
    case 'values':
      return `values ${m.values.map((v, i) => `${m.from + i}=${showValue(v)}`).join(' ')} of ${m.prefix}`;
    case 'transfer':
      return `transfer ${showBallot(m.ballot)}`;
    case 'barrier':
      return `barrier ${m.id}`;
    case 'barrier-reached':
      return `barrier ${m.id} reached at ${m.slot}`;
  }
}

import { decodeCbor } from '../base/cbor.ts';
import type { PeerId } from '../base/ids.ts';
import { unseal } from '../driver/records.ts';
import type { KvRow } from '../driver/store.ts';
import { SEEN_RANGE } from '../replica/identity.ts';
import { TAIL_KEY } from '../session/index.ts';
import { decodeSeen, type Seen } from '../wire/session-messages.ts';
import type { Wish } from './checkers.ts';
import type { SimNode } from './node.ts';
import type { NodeStore } from './node-store.ts';
import { canSpare, type Scene } from './scene.ts';

const EVERYTHING = { gte: ' ', lt: '~', limit: 1_000_000 };
/** How long a damaged store goes on as a reader before it is brought back. */
const READER_MS = 5000;
/** A copy or a backup is at least so much older than the store; from then on it is looked, every so often, whether others would notice. */
const COPY_MS_MAX = 3000;
const LOOK_MS = 200;

/** Mostly what an acceptor's word hangs on: the last record of each. */
const AIMS = [
  'm/promise',
  'm/promise',
  'm/promise',
  'm/prefix',
  'm/group',
  TAIL_KEY,
  'l/',
  'l/',
  'd/',
  'c/',
  't/',
  't!',
  's/',
];
/** Records that somebody asks for by name, and that are not to be missing there. */
const MISSED = /^(l\/|d\/|t\/|t!|m\/(promise|prefix|group))/;

type Rot = 'corrupt' | 'missing' | 'misdirected';

/** Disks that are slow, hang, fail, are full, or lose what they were told to keep. */
export class Disks {
  readonly #scene: Scene;

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  slow(node: SimNode): void {
    const { random, scheduler, injections } = this.#scene;
    const forMs = 200 + random.number() * 3000;
    const slownessMs = random.pick([20, 60, 60, 400, 3000]);
    if (!injections.strike('slow disk', `${node.name}, ${slownessMs} ms`)) return;
    node.slownessMs = slownessMs;
    scheduler.after(forMs, () => {
      node.slownessMs = 0;
    });
  }

  /** For seconds, or until the process ends: then somebody ends it sooner or later. */
  hang(node: SimNode, crash: (node: SimNode) => void): void {
    const { random, scheduler, injections } = this.#scene;
    const isForEver = random.chance(0.5);
    const forMs = 500 + random.number() * 6000;
    if (!node.isUp || node.isHung || !injections.strike('hung disk', `${node.name}${isForEver ? ', for ever' : ''}`))
      return;
    node.hungUntilMs = isForEver ? Infinity : scheduler.nowMs + forMs;
    if (!isForEver) return;
    const { life } = node;
    scheduler.after(forMs, () => {
      if (node.life === life && !this.#scene.isOver) crash(node);
    });
  }

  fail(node: SimNode): void {
    const { random, injections } = this.#scene;
    const writes = 1 + random.below(20);
    if (node.isUp && injections.strike('failed disk', `${node.name} in ${writes}`))
      node.store?.failSoon(writes, 'DISK_FAILED');
  }

  fill(node: SimNode): void {
    const { random, injections } = this.#scene;
    const writes = 1 + random.below(20);
    // Mostly the ballast is room enough.
    const forMs = random.chance(0.6) ? 0 : random.number() * 4000;
    if (node.isUp && injections.strike('full disk', `${node.name} in ${writes}`)) node.fill(forMs, writes);
  }

  // --- damage

  /** The process ends, and its store is not what it left. */
  damage(node: SimNode): void {
    const { random, injections, people, scheduler, plan } = this.#scene;
    if (!canSpare(this.#scene, node)) return;
    const kinds: Record<string, () => void> = {
      'record corrupt': () => this.#rot(store, 'corrupt'),
      'record missing': () => this.#rot(store, 'missing'),
      'record misdirected': () => this.#rot(store, 'misdirected'),
      'tail dropped': () => dropTail(store, 2 + random.below(8)),
      'middle dropped': () => dropMiddle(store, 1 + random.below(4), 1 + random.below(6)),
      'mark lost': () => forgetMark(store),
      'mark older': () => olderMark(store, old),
      'mark torn': () => this.#tearMark(store),
    };
    const kind = random.pick(Object.keys(kinds));
    const waitMs = 200 + random.number() * 600;
    if (!injections.strike(`damage: ${kind}`, node.name)) return;
    const store = node.store as NodeStore;
    const old = store.memory.markReadSync();
    people.excuse(node, false);
    // Counted as lost from now on, so that nothing else is lost meanwhile; an older mark needs time to have grown old.
    store.isTreated = true;
    scheduler.after(kind === 'mark older' ? waitMs : 0, () => {
      if (node.store !== store) return;
      node.crash(random.chance(0.5));
      people.excuse(node, false);
      (kinds[kind] as () => void)();
      scheduler.after(random.number() * plan.downMs, () => node.start());
      // What was noticed brings itself back (`found`); what wasn't, because nothing was lost, does in the end.
      scheduler.after(READER_MS + plan.downMs, () => this.#backSometime(node, store));
    });
  }

  /** While the node runs; it meets that sooner or later, or never. */
  rotWhileRunning(node: SimNode): void {
    const { random, injections, people, scheduler } = this.#scene;
    const kind = random.pick(['corrupt', 'missing', 'misdirected'] as const);
    const waitMs = 1000 + random.number() * READER_MS;
    if (!node.isUp || !canSpare(this.#scene, node) || !injections.strike(`rot: record ${kind}`, node.name)) return;
    const store = node.store as NodeStore;
    store.isTreated = true;
    people.excuse(node, false);
    this.#rot(store, kind);
    scheduler.after(waitMs, () => this.#backSometime(node, store));
  }

  #rot(store: NodeStore, kind: Rot): void {
    const { random, note } = this.#scene;
    const rows = store.memory.scanSync(EVERYTHING);
    const aim = random.pick(AIMS);
    const families = [...new Set(rows.map(([key]) => key.slice(0, 4)))];
    const target = rows.findLast(([key]) => key.startsWith(aim)) ?? random.pick(rows);
    const [key, value] = random.chance(0.75) ? target : this.#oneOf(rows, random.pick(families));
    note(`   ${key} is ${kind}`);
    if (key.startsWith('s/') || key.startsWith('o/') || key.startsWith('x/')) store.lostState = true;
    if (kind === 'missing') {
      // The database notices by its own checks that a table is not whole; where it doesn't, only some records are missed by those who need them.
      if (random.chance(0.3) || !MISSED.test(key)) store.hasBrokenTable = true;
      return store.memory.rot(key, null);
    }
    if (kind === 'misdirected') return store.memory.rot(key, this.#oneOf(rows, random.pick(families))[1]);
    const bytes = value.slice();
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << random.below(8));
    store.memory.rot(key, bytes);
  }

  #oneOf(rows: readonly KvRow[], family: string): KvRow {
    return this.#scene.random.pick(rows.filter(([key]) => key.startsWith(family)));
  }

  #tearMark(store: NodeStore): void {
    const { random } = this.#scene;
    const place = random.pick([0, 1] as const);
    const bytes = store.memory.markReadSync()[place];
    if (bytes !== null) store.memory.rotMark(place, bytes.fill(0xff, random.below(60)));
  }

  /** Not one that was reborn meanwhile: the group may count on that already. */
  #backSometime(node: SimNode, store: NodeStore): void {
    if (node.store === store && (node.isTreated || node.isDamaged) && !this.#scene.isOver) this.bringBack(node);
  }

  found(node: SimNode): void {
    const { random, scheduler, people } = this.#scene;
    const { store } = node;
    people.excuse(node, false);
    // Nobody sits at a copy.
    if (this.#scene.twins.includes(node)) return;
    if (node.isDamaged && node.wasCopied) return this.#askWhoGoesOn(node);
    // The verdict stands at the next start, too.
    if (random.chance(0.5)) {
      scheduler.after(random.number() * READER_MS * 0.5, () => {
        if (node.store !== store || this.#scene.isOver) return;
        node.crash(random.chance(0.5));
        node.start();
      });
    }
    // One that may only read, since a person is to say whether it is the only one, is joined again with an empty disk.
    scheduler.after(random.number() * READER_MS, () => {
      if (store !== null && node.isDamaged) this.#backSometime(node, store);
    });
  }

  /** A machine and a copy of it were both found, or one that the other one replaced: a person stops the copy, and says that the machine itself goes on. */
  #askWhoGoesOn(node: SimNode): void {
    const { random, scheduler } = this.#scene;
    const { store } = node;
    scheduler.after(random.number() * READER_MS, () => {
      if (node.store !== store || !node.isDamaged) return;
      this.#retireTwins(node);
      node.settle();
      // Its disk may have failed just then: the person says so again.
      if (node.isDamaged) this.#askWhoGoesOn(node);
    });
  }

  #retireTwins({ peer }: SimNode): void {
    for (const twin of this.#scene.twins) if (twin.peer === peer) twin.retire();
  }

  /** Somebody joins the machine again with an empty disk. A store that noticed its own damage needs nobody for that: it is reborn as it is opened. */
  bringBack(node: SimNode): void {
    const { nodes, people } = this.#scene;
    const genesis = nodes.find((n) => n.replica !== null)?.replica?.genesisBytes;
    if (genesis === undefined) return;
    people.excuse(node, false);
    this.#retireTwins(node);
    node.wipe(genesis);
  }

  wipe(node: SimNode): void {
    const { nodes, injections } = this.#scene;
    const isReadmitted = (n: SimNode) => !n.wiped || n.replica?.reader.member(n.peer)?.incarnation === n.incarnation;
    if (!canSpare(this.#scene, node) || !nodes.every(isReadmitted)) return;
    if (!nodes.some((n) => n.replica !== null)) return;
    if (injections.strike('wipe', node.name)) this.bringBack(node);
  }

  /** The data directory is copied, and later another machine starts with that. */
  copy(): void {
    const { injections, people, startTwin } = this.#scene;
    this.#later((node, store, copy, open) => {
      if (!injections.strike('copied store', node.name)) return;
      people.excuse(node, false);
      store.meetCopy();
      node.wasCopied = true;
      for (const wish of open) wish.isShared = true;
      startTwin(node, copy);
    });
  }

  /** A backup is made, and later it is put back. */
  restore(): void {
    const { injections, people, random, scheduler, plan } = this.#scene;
    this.#later((node, store, backup) => {
      const powerCut = random.chance(0.5);
      const downMs = random.number() * plan.downMs;
      if (!injections.strike('restored backup', node.name)) return;
      people.excuse(node, false);
      node.crash(powerCut);
      store.putBack(backup);
      scheduler.after(downMs, () => node.start());
    });
  }

  /** As soon as others would notice. */
  #later(use: (node: SimNode, store: NodeStore, copy: NodeStore, open: readonly Wish[]) => void): void {
    const { random, scheduler, nodes, people } = this.#scene;
    const waitMs = random.number() * COPY_MS_MAX;
    const node = random.pick(nodes.filter((each) => canSpare(this.#scene, each)).concat(nodes[0] as SimNode));
    const { store, turn } = node;
    if (store === null || !canSpare(this.#scene, node)) return;
    const copy = store.copy();
    const open = people.openAt(node);
    const look = (): void => {
      if (this.#scene.isOver || node.store !== store || store.incarnation !== copy.incarnation) return;
      if (canSpare(this.#scene, node) && isSeenBeyond(this.#scene, node, turn)) return use(node, store, copy, open);
      scheduler.after(LOOK_MS, look);
    };
    scheduler.after(waitMs, look);
  }
}

/**
 * Whether everybody else has on its disk that a later turn of this store was seen than `turn`. What can't be noticed (R6) is an older copy that reaches only those who saw
 * nothing later of it: to them it is what it was, it may vote with them against what it said before, and no check could be held then. So none comes to life before this
 * is true, and until it was noticed nobody else's store is lost, with what it saw (`canSpare`). From then on it may give no vote (`Words`).
 */
function isSeenBeyond({ nodes }: Scene, node: SimNode, turn: number): boolean {
  // The batch of one more turn may be on the disk, and nobody was told of it.
  const isSeenBy = (other: SimNode): boolean =>
    other.hasStore &&
    !other.isTreated &&
    !other.isDamaged &&
    seenBy(other.store as NodeStore, node.peer).some((s) => s.incarnation === node.incarnation && s.turn > turn + 1);
  return nodes.every((other) => other === node || isSeenBy(other));
}

function seenBy({ memory }: NodeStore, peer: PeerId): readonly Seen[] {
  const key = SEEN_RANGE.gte + peer;
  const record = memory.get(key);
  return record === undefined ? [] : decodeSeen(decodeCbor(unseal(key, record).payload));
}

type Marks = ReturnType<NodeStore['memory']['markReadSync']>;

function dropTail(store: NodeStore, batches: number): void {
  const { memory } = store;
  if (memory.loggedBatches > 0) memory.dropLogged(Math.min(batches, memory.loggedBatches));
}

function dropMiddle(store: NodeStore, batches: number, last: number): void {
  const { memory } = store;
  const count = Math.min(batches, memory.loggedBatches - last);
  if (count > 0) memory.dropLogged(count, last);
}

function forgetMark({ memory }: NodeStore): void {
  memory.rotMark(0, null);
  memory.rotMark(1, null);
}

function olderMark({ memory }: NodeStore, [first, second]: Marks): void {
  memory.rotMark(0, first);
  memory.rotMark(1, second);
}

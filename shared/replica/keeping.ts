import { type GroupId, type PeerId, type Slot, slot } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import type { Core } from '../consensus/core.ts';
import type { Input } from '../consensus/io.ts';
import type { Heartbeat } from '../consensus/messages.ts';
import type { Sizes } from '../document/index.ts';
import { digestKey, logKey, MISSING_KEY, STAGING_KEY } from '../driver/layout.ts';
import type { Missing } from '../driver/missing.ts';
import type { Overlay } from '../driver/overlay.ts';
import type { KvSnapshot } from '../driver/store.ts';
import { decodeNote } from '../wire/note.ts';
import type { SnapshotMessage } from '../wire/snapshot-messages.ts';
import { type Area, otherArea, StateArea } from './area.ts';
import { HistoryFetch, missingOp, serveHistory } from './history.ts';
import { Preview } from './preview.ts';
import { isSnapshotSooner } from './snapshot-choice.ts';
import { installOps, SnapshotFetch, type Staging } from './snapshot-fetch.ts';
import { SnapshotServer } from './snapshot-server.ts';
import { Sweep } from './sweep.ts';

/** How much a store keeps, and when it takes a snapshot instead of values. */
export interface KeepingLimits {
  /** Values below the newest so many may be dropped once enough others hold them (R5); null: all are kept, as they are the audit trail. */
  readonly keepSlots: number | null;
  /** The same for a witness, which keeps no state either. */
  readonly witnessKeepSlots: number;
  /** A store that is less far behind than both of these takes values; otherwise what costs less (`snapshot-choice.ts`). */
  readonly snapshotLagSlots: number;
  /** More than may be on its way at one time (16 values of 1 MiB), so that nobody who follows is taken for one that is behind. */
  readonly snapshotLagBytes: number;
  /** A part of a snapshot: so much of rows, and the row that goes beyond it. */
  readonly snapshotPartBytes: number;
}

export const KEEPING_LIMITS: KeepingLimits = {
  keepSlots: null,
  witnessKeepSlots: 1024,
  snapshotLagSlots: 256,
  snapshotLagBytes: 32 * 1024 * 1024,
  snapshotPartBytes: 256 * 1024,
};

/** Slots dropped with one batch. */
const DROP_SLOTS = 256;
/** Whoever lacks a source for values waits this long for one before a snapshot is fetched. Ticks. */
const LACK_TICKS = 10;

export interface KeepingInit {
  readonly group: GroupId;
  readonly self: PeerId;
  readonly area: Area;
  readonly alpha: number;
  readonly genesisDigest: Uint8Array;
  readonly missing: Missing;
  readonly staging: Staging | null;
  readonly limits: KeepingLimits;
  readonly core: Core;
  readonly overlay: Overlay;
  /** The disk as it is now. */
  readonly snapshot: () => KvSnapshot;
  readonly enqueue: (input: Input) => void;
  readonly say: (to: PeerId, message: SnapshotMessage) => void;
  /** Last applied. */
  readonly applied: () => Slot;
  /** Of this store's log, as far as it is applied, and of its state. */
  readonly sizes: () => Sizes;
  /** Values are applied as they are chosen. */
  readonly applies: () => boolean;
  /** Everything may be given to this peer. */
  readonly mayHave: (peer: PeerId) => boolean;
  readonly onProblem: (code: string, message: string) => void;
  readonly onDamage: (key: string, error: unknown) => void;
}

/**
 * What a store holds of the log and of the state, and how the rest comes: snapshots given and taken, history fetched behind them, values dropped. All of it at
 * its own pace beside the consensus, which never waits for it.
 */
export class Keeping {
  readonly #init: KeepingInit;
  readonly #server: SnapshotServer;
  readonly #fetch: SnapshotFetch;
  readonly #history: HistoryFetch;
  readonly #sweep: Sweep;
  #missing: Missing;
  #now = 0;
  #lackingSinceTick: number | null = null;
  /** As of the last part that came. */
  #previewed: { readonly staging: Staging; readonly preview: Preview | null } | null = null;
  #holdingTold = 'null null';
  #isHoldingSaid = false;

  constructor(init: KeepingInit) {
    const { area, overlay, core } = init;
    this.#init = init;
    this.#missing = init.missing;
    const write = (ops: readonly KvOp[]): void => overlay.defer(ops);
    const isUnwritten = (key: string): boolean => overlay.isUnwritten(key);
    const { onProblem } = init;
    this.#sweep = new Sweep({ area: otherArea(area), open: init.snapshot, write, isUnwritten });
    if (init.staging === null) this.#sweep.start();
    this.#server = new SnapshotServer({
      area,
      alpha: init.alpha,
      partBytes: init.limits.snapshotPartBytes,
      open: init.snapshot,
      send: init.say,
      onDamage: init.onDamage,
    });
    this.#fetch = new SnapshotFetch(area, init.staging, {
      sources: () => this.#sources(),
      ask: init.say,
      write,
      isWritten: () => !isUnwritten(STAGING_KEY),
      isClear: () => this.#sweep.isClear,
      clear: () => this.#sweep.start(),
      mayFetchValues: (may) => init.enqueue({ type: 'fetching', may }),
      onProblem,
    });
    this.#history = new HistoryFetch({
      kv: overlay,
      genesis: init.genesisDigest,
      missing: () => this.#missing,
      sources: () => this.#holders(core.prefix),
      ask: init.say,
      take: (ops, missing) => {
        this.#missing = missing;
        write([...ops, missingOp(missing)]);
      },
      isWritten: () => !isUnwritten(MISSING_KEY),
      onProblem,
      onDamage: init.onDamage,
    });
    this.#tellHolding();
  }

  get missing(): Missing {
    return this.#missing;
  }

  /** The state can be brought up to the log from the values that are here. */
  get isReplayable(): boolean {
    return !this.#missing.meets(this.#init.applied() + 1, this.#init.core.prefix);
  }

  /** Who can be heard and could give what is not here: a state, or values. */
  get sources(): readonly PeerId[] {
    return this.isReplayable ? this.#holders(this.#init.core.prefix) : this.#sources();
  }

  /** What of a snapshot has come, for people and nobody else; null where there is nothing to show. */
  get preview(): Preview | null {
    const { staging } = this.#fetch;
    if (staging === null) return null;
    if (this.#previewed?.staging !== staging) {
      const rows = new StateArea(this.#init.overlay, otherArea(this.#init.area));
      this.#previewed = { staging, preview: Preview.of(this.#init.group, rows, staging) };
    }
    return this.#previewed.preview;
  }

  tick(): void {
    this.#now++;
    const { core } = this.#init;
    this.#server.tick();
    this.#sweep.tick();
    const needsSnapshot = this.#needsSnapshot();
    const isUseless = this.#fetch.ready === null ? !needsSnapshot : this.install() === null;
    if (isUseless) this.#fetch.abandon();
    this.#fetch.tick(this.#now, needsSnapshot, this.#isWitness);
    this.#history.tick(this.#now, this.#wantsHistory && !this.#fetch.isUnderWay);
    this.#tellHolding();
    if (!core.inspect().lacksSource) this.#lackingSinceTick = null;
    else this.#lackingSinceTick ??= this.#now;
  }

  /** Nothing is read from the disk any more. */
  end(): void {
    this.#server.end();
  }

  onMessage(from: PeerId, m: SnapshotMessage): void {
    switch (m.type) {
      case 'snapshot-ask':
        // What is applied may lack what was chosen, where applying had to stop.
        if (this.#init.mayHave(from) && this.isReplayable && !this.#isWitness) this.#server.onAsk(from, m);
        return;
      case 'snapshot-part':
        return this.#fetch.onPart(from, m);
      case 'history-ask':
        if (!this.#init.mayHave(from) || m.to > this.#init.core.prefix) return;
        return this.#giveHistory(from, m.to);
      case 'history-part':
        return this.#history.onPart(from, m);
    }
  }

  #giveHistory(to: PeerId, upTo: Slot): void {
    const { overlay, genesisDigest, onDamage } = this.#init;
    this.#init.say(to, serveHistory(overlay, this.#missing, upTo, genesisDigest, onDamage));
  }

  /** The batch that installs a fetched snapshot, and the prefix that the store then has; null while there is none to install. */
  install(): { readonly ops: readonly KvOp[]; readonly prefix: Slot } | null {
    const header = this.#fetch.ready;
    if (header === null) return null;
    const { area, core } = this.#init;
    const { prefix } = core;
    const headOnly = this.#isWitness;
    // Of no use: the log went on without it, or what follows it is not here.
    const isLate = headOnly ? header.slot <= prefix : header.slot <= this.#init.applied();
    if (isLate || this.#missing.meets(header.slot + 1, prefix)) return null;
    const accepted = [...core.accepted.keys()];
    const ops = installOps({ header, area, prefix, missing: this.#missing, accepted, headOnly });
    return { ops, prefix: slot(Math.max(prefix, header.slot)) };
  }

  get #isWitness(): boolean {
    const { core, self } = this.#init;
    return core.configuration.voters.some((v) => v.peer === self && v.witness);
  }

  get #keepSlots(): number | null {
    return this.#isWitness ? this.#init.limits.witnessKeepSlots : this.#init.limits.keepSlots;
  }

  /** A member keeps the whole log; a witness fetches what it needs in order to vote for new voters. */
  get #wantsHistory(): boolean {
    if (this.#init.core.lacksHandover && !this.isReplayable) return true;
    return this.#keepSlots === null && this.isReplayable;
  }

  #needsSnapshot(): boolean {
    const { core } = this.#init;
    const { prefix } = core;
    if (core.inspect().leads) return false;
    if (!this.#isWitness && !this.isReplayable) return true;
    if ((this.#fetch.staging?.header.slot ?? 0) > prefix) return true;
    if (this.#lackingSinceTick !== null && this.#now - this.#lackingSinceTick >= LACK_TICKS) return true;
    return this.#sources().some((peer) => this.#isSooner(core.beatOf(peer)));
  }

  /** What this peer could give as a snapshot is here sooner than the values one by one. */
  #isSooner(beat: Heartbeat | null): boolean {
    const { core, limits, sizes } = this.#init;
    const slots = (beat?.prefix ?? 0) - core.prefix;
    if (beat === null || slots <= 0) return false;
    // A witness takes a header alone, and can't give values that it skipped.
    if (this.#isWitness) return slots >= limits.snapshotLagSlots && slots >= core.prefix;
    return beat.note.length > 0 && isSnapshotSooner({ slots, theirs: decodeNote(beat.note), own: sizes() }, limits);
  }

  /** Who holds a state beyond this peer's: the leader last, as it has other things to do. */
  #sources(): PeerId[] {
    const lacked = this.isReplayable ? this.#init.core.prefix + 1 : (this.#missing.ranges.at(-1)?.to ?? 0);
    return this.#holders(slot(lacked));
  }

  #holders(atLeast: Slot): PeerId[] {
    const { core } = this.#init;
    const { leader } = core.inspect();
    const witnesses = new Set(
      core.window().flatMap(({ configuration: c }) => c.voters.flatMap((v) => (v.witness ? [v.peer] : []))),
    );
    const held = (peer: PeerId): number => core.beatOf(peer)?.durable ?? 0;
    return core
      .heard()
      .filter((peer) => !witnesses.has(peer) && held(peer) >= atLeast)
      .sort((a, b) => Number(a === leader) - Number(b === leader) || held(b) - held(a) || (a < b ? -1 : 1));
  }

  /**
   * R5: only what enough other full voters hold on their disks; and what is not in this peer's own state goes only from a witness, which has none. Called as the
   * batch is made, so that no configuration can come between.
   */
  drop(): readonly KvOp[] {
    const keep = this.#keepSlots;
    const { core, overlay } = this.#init;
    // Nobody may count on a witness any more: said in an earlier turn, before anything goes.
    const isSaid = this.#isHoldingSaid;
    this.#isHoldingSaid = core.counted !== null;
    if (keep === null || overlay.isUnwritten(MISSING_KEY) || (this.#isWitness && !isSaid)) return [];
    if (!this.#isWitness && !this.#init.applies()) return [];
    const own = this.#isWitness ? core.prefix : this.#init.applied();
    const upTo = Math.min(core.droppable(), own - keep);
    const from = this.#missing.at(1) === null ? 1 : (this.#missing.at(1)?.to ?? 0) + 1;
    const to = Math.min(upTo, from + DROP_SLOTS - 1);
    if (to < from) return [];
    this.#missing = this.#missing.with({ from: slot(from), to: slot(to) });
    const ops: KvOp[] = [missingOp(this.#missing)];
    for (let at = from; at <= to; at++) {
      ops.push({ type: 'del', key: logKey(at) });
      // The last one stays: what is below can be held against it. So does that of a witness' state, which goes no further.
      if (at > 1 && at - 1 !== this.#init.applied()) ops.push({ type: 'del', key: digestKey(at - 1) });
    }
    return ops;
  }

  /** What others may count on (R2, R5): the whole prefix, or only what the state holds, where the values after it are not here or are about to go. */
  #tellHolding(): void {
    const applied = this.#init.applied();
    const upTo = this.isReplayable ? null : applied;
    const counted = this.#isWitness ? applied : upTo;
    const told = `${upTo} ${counted}`;
    if (told === this.#holdingTold) return;
    this.#holdingTold = told;
    this.#init.enqueue({ type: 'holding', upTo, counted });
  }
}

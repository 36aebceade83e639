import type { Signer } from '../base/crypto.ts';
import type { PeerId } from '../base/ids.ts';
import type { KvOp } from '../base/kv.ts';
import { encodeBallot } from '../consensus/ballot.ts';
import type { Turn } from '../driver/journal-format.ts';
import { sealed } from '../driver/overlay.ts';
import { Lineage } from './identity.ts';
import type { OpenedStore } from './opening.ts';
import { type Outcome, outcomeOf, type RecoveryFault, type Start } from './recovery.ts';
import { inKeyOrder, type Renunciation, type Report, sameSurvivors, signRenunciation } from './recovery-consent.ts';
import { consentsOf, decided, epochOf, proofOp, renounceOps, reportOf, settleOps } from './recovery-store.ts';

export const startOf = (store: OpenedStore): Start => ({ alpha: store.genesis.alpha, first: store.firstConfiguration });

/** What this store would say of itself now. */
export function reportNow(store: OpenedStore): Report {
  const { restored, incarnation, problems } = store;
  return reportOf({ restored, incarnation, isSound: problems.length === 0 }, startOf(store));
}

/** Somebody's consent on a store that no peer runs on, and what comes of it. */
export interface Consented {
  /** The one turn that makes it durable, null where it is already. Nothing may be told of it before that is on the disk. */
  readonly consent: Turn | null;
  readonly outcome: Outcome | RecoveryFault;
  /** The turn after it, where no other survivor has to be heard first; null where their peers do the rest. */
  readonly settle: Turn | null;
  /** These survivors went on already, and nothing has changed among the voters since: there is nothing to do. */
  readonly isOver: boolean;
}

/**
 * The whole of a consent, without a disk: open the store, then write `consent`, then `settle`, each with its mark. The same survivors again change nothing, so
 * a command that was cut off is repeated.
 */
export function consentTo(
  store: OpenedStore,
  by: {
    readonly self: PeerId;
    readonly signer: Signer;
    readonly survivors: readonly PeerId[];
    readonly nonce: Uint8Array;
  },
): Consented {
  const survivors = inKeyOrder(by.survivors);
  const { renounced, proofs } = store.recovery;
  const last = proofs.at(-1);
  const isNewest = last !== undefined && last.slot === store.restored.inForce.at(-1)?.slot;
  if (isNewest && renounced === null && sameSurvivors(last.renunciations[0]?.survivors ?? [], survivors)) {
    return { consent: null, outcome: outcomeOf(last.renunciations, startOf(store)), settle: null, isOver: true };
  }
  const isRepeated = renounced !== null && sameSurvivors(renounced.own.survivors, survivors);
  const own = isRepeated ? renounced.own : renunciationBy(store, { ...by, survivors });
  const all = isRepeated ? consentsOf(renounced) : [own];
  const outcome = outcomeOf(all, startOf(store));
  const isAlone = survivors.length === 1 && typeof outcome !== 'string';
  return {
    consent: isRepeated ? null : turnOf(store, [...consentOps(store, own), ...noted(store, by.nonce)]),
    outcome,
    settle: isAlone ? turnOf(store, settleAloneOps(store, outcome, all), outcome) : null,
    isOver: false,
  };
}

/** Whoever has all consents of an earlier recovery is in its epoch, and renounces that one. */
function renunciationBy(store: OpenedStore, by: Parameters<typeof consentTo>[1]): Renunciation {
  const { restored, recovery, group, firstConfiguration } = store;
  const before = decided(recovery.renounced, startOf(store));
  const newest = restored.inForce.at(-1)?.configuration ?? firstConfiguration;
  const { self: peer, survivors, nonce } = by;
  const epoch = before?.epoch ?? epochOf(recovery, newest);
  return signRenunciation({ group, epoch, peer, survivors, nonce, report: reportNow(store) }, by.signer);
}

/** This turn, too, is one that the store took: a run that others saw just before it is no other store's. */
const noted = (store: OpenedStore, nonce: Uint8Array): readonly KvOp[] =>
  new Lineage(store.runs, nonce.slice(0, 8), store.journal.lastTurn).takeOps();

function consentOps(store: OpenedStore, own: Renunciation): readonly KvOp[] {
  const { renounced } = store.recovery;
  const before = decided(renounced, startOf(store));
  if (before === null || renounced === null) return renounceOps(own);
  return [...renounceOps(own), proofOp({ epoch: before.epoch, slot: before.at, renunciations: consentsOf(renounced) })];
}

function settleAloneOps(store: OpenedStore, outcome: Outcome, all: readonly Renunciation[]): readonly KvOp[] {
  const { prefix, digest, accepted } = store.restored;
  return settleOps(outcome, all, { prefix, digest }, (at) => accepted.get(at)?.value ?? null);
}

/** A batch outside of the driver. @param settled what the log then is: nothing that was accepted up to its end is listed any more */
function turnOf(store: OpenedStore, ops: readonly KvOp[], settled: Outcome | null = null): Turn {
  const { promised, accepted } = store.restored;
  const isSound = store.problems.length === 0;
  const listed = settled === null ? [...accepted] : [...accepted].filter(([at]) => at > settled.at);
  return {
    ops: ops.map(sealed),
    accepted: listed.map(([at, { ballot, value }]) => [at, encodeBallot(ballot), value.hash]),
    promise: isSound ? encodeBallot(promised) : null,
    lastOwnSeq: isSound ? store.markedOwnSeq : 0,
  };
}

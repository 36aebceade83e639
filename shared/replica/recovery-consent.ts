import { compareBytes, concat, equal } from '../base/bytes.ts';
import {
  asArray,
  asBoolean,
  asBytes,
  asInteger,
  asList,
  asText,
  type Cbor,
  decodeCbor,
  encodeCbor,
  FormatError,
  orNull,
} from '../base/cbor.ts';
import type { SignedBytes, Signer } from '../base/crypto.ts';
import { domain, HASH_BYTES, sha256 } from '../base/hash.ts';
import {
  type GroupId,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  parseGroupId,
  peerFromKey,
  type Slot,
  slot,
} from '../base/ids.ts';
import { type Ballot, decodeBallot, encodeBallot } from '../consensus/ballot.ts';
import { decodeConfiguration, encodeConfiguration, type InForce } from '../consensus/configuration.ts';
import { decodeValue } from '../consensus/value.ts';
import { batchHash } from '../document/index.ts';
import { SURVIVORS_MAX } from '../wire/session-messages.ts';

/**
 * One person's consent to go on without those who are gone (R12), as it is stored, sent and signed. STORED AND SIGNED FORMATS, version 1:
 *
 *   renunciation   CBOR [1, group, epoch (32), peer (32), survivors (32 each, ascending), nonce (16), report, signature (64)]
 *                  signed are 'recovery' ‖ CBOR [1, group, epoch, peer, survivors, nonce, SHA-256(report)] ('recovery' is the purpose's prefix)
 *   report         a byte string: CBOR [incarnation (16), votes, prefix, digest, [[slot, from, configuration] …], [[slot, ballot, value hash, value|null] …]];
 *                  what had force in the open slots, the newest last; and everything accepted above the prefix. The value stands there where it is a
 *                  configuration, since what has force after it depends on what it says.
 */
export interface Renunciation {
  readonly group: GroupId;
  /** The epoch that is renounced. */
  readonly epoch: Uint8Array;
  readonly peer: PeerId;
  /** Everybody who goes on, in the order of their keys; the sender is one of them. */
  readonly survivors: readonly PeerId[];
  /** Drawn with the consent: another consent makes another epoch. */
  readonly nonce: Uint8Array;
  readonly report: Report;
  readonly signature: Uint8Array;
  /** As it was decoded or first encoded. */
  readonly bytes: Uint8Array;
  readonly reportBytes: Uint8Array;
}

/** What a store held as it renounced, frozen. */
export interface Report {
  readonly incarnation: Incarnation;
  /** False for a damaged store: what it accepted can't be told any more. */
  readonly votes: boolean;
  readonly prefix: Slot;
  readonly digest: Uint8Array;
  /** Those that govern a slot above the prefix, as far as it was known; ascending. */
  readonly inForce: readonly InForce[];
  /** Above the prefix, ascending. */
  readonly accepted: readonly ReportedValue[];
}

export interface ReportedValue {
  readonly slot: Slot;
  readonly ballot: Ballot;
  readonly hash: Uint8Array;
  /** The value's bytes where it is a configuration, else null. */
  readonly configuration: Uint8Array | null;
}

export type Consent = Pick<Renunciation, 'group' | 'epoch' | 'peer' | 'survivors' | 'nonce' | 'report'>;

const VERSION = 1;
export const NONCE_BYTES = 16;
const SIGNATURE_BYTES = 64;
/** An acceptor holds at most a window of open slots, and a few strays. */
const ACCEPTED_MAX = 1024;
const IN_FORCE_MAX = 4;
export const RENUNCIATION_BYTES_MAX = 256 * 1024;

/** One spelling for one set of survivors. */
export function inKeyOrder(peers: Iterable<PeerId>): readonly PeerId[] {
  return [...new Set(peers)].sort((a, b) => compareBytes(keyFromPeer(a), keyFromPeer(b)));
}

export const sameSurvivors = (a: readonly PeerId[], b: readonly PeerId[]): boolean =>
  a.length === b.length && a.every((peer, i) => peer === b[i]);

export function signRenunciation(consent: Consent, signer: Signer): Renunciation {
  const reportBytes = encodeReport(consent.report);
  const signature = signer.sign(signedBytes(consent, reportBytes));
  const bytes = encodeCbor([...headOf(consent), reportBytes, signature]);
  return { ...consent, reportBytes, signature, bytes };
}

/** What a verifier is asked about a renunciation. */
export function renunciationSignature(r: Renunciation): SignedBytes {
  return { publicKey: keyFromPeer(r.peer), bytes: signedBytes(r, r.reportBytes), signature: r.signature };
}

function signedBytes(consent: Consent, reportBytes: Uint8Array): Uint8Array {
  return concat(domain('recovery'), encodeCbor([...headOf(consent), sha256(reportBytes)]));
}

const headOf = ({ group, epoch, peer, survivors, nonce }: Consent): Cbor[] => [
  VERSION,
  group,
  epoch,
  keyFromPeer(peer),
  survivors.map(keyFromPeer),
  nonce,
];

/** The signature is not looked at. @throws FormatError */
export function decodeRenunciation(bytes: Uint8Array): Renunciation {
  if (bytes.length > RENUNCIATION_BYTES_MAX) throw new FormatError('a renunciation is too long');
  const [version, group, epoch, peer, survivors, nonce, report, signature] = asArray(decodeCbor(bytes), 8);
  if (version !== VERSION) throw new FormatError('a renunciation of another version');
  const reportBytes = asBytes(report);
  const r: Renunciation = {
    group: parseGroupId(asText(group, 26)),
    epoch: asBytes(epoch, HASH_BYTES),
    peer: peerFromKey(asBytes(peer, 32)),
    survivors: asArray(survivors).map((key) => peerFromKey(asBytes(key, 32))),
    nonce: asBytes(nonce, NONCE_BYTES),
    report: decodeReport(reportBytes),
    signature: asBytes(signature, SIGNATURE_BYTES),
    bytes,
    reportBytes,
  };
  if (r.survivors.length < 1 || r.survivors.length > SURVIVORS_MAX) {
    throw new FormatError(`1 … ${SURVIVORS_MAX} survivors`);
  }
  if (!sameSurvivors(inKeyOrder(r.survivors), r.survivors)) throw new FormatError('survivors out of order');
  if (!r.survivors.includes(r.peer)) throw new FormatError('who renounces is a survivor');
  return r;
}

function encodeReport(report: Report): Uint8Array {
  return encodeCbor([
    incarnationBytes(report.incarnation),
    report.votes,
    report.prefix,
    report.digest,
    report.inForce.map(({ slot: at, from, configuration }) => [at, from, encodeConfiguration(configuration)]),
    report.accepted.map((row) => [row.slot, encodeBallot(row.ballot), row.hash, row.configuration]),
  ]);
}

function decodeReport(bytes: Uint8Array): Report {
  const [incarnation, votes, prefix, digest, inForce, accepted] = asArray(decodeCbor(bytes), 6);
  const report: Report = {
    incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
    votes: asBoolean(votes),
    prefix: slot(asInteger(prefix)),
    digest: asBytes(digest, HASH_BYTES),
    inForce: asList(inForce, IN_FORCE_MAX).map((row): InForce => {
      const [at, from, configuration] = asArray(row, 3);
      return {
        slot: slot(asInteger(at)),
        from: slot(asInteger(from)),
        configuration: decodeConfiguration(configuration),
      };
    }),
    accepted: asList(accepted, ACCEPTED_MAX).map(decodeAccepted),
  };
  const [first] = report.inForce;
  if (first === undefined || first.from > report.prefix + 1)
    throw new FormatError('nothing governs the first open slot');
  if (!ascends(report.inForce.map((c) => c.slot)) || !ascends(report.inForce.map((c) => c.from))) {
    throw new FormatError('configurations out of order');
  }
  if (!ascends([report.prefix, ...report.accepted.map((row) => row.slot)])) {
    throw new FormatError('accepted values stand above the prefix, in order');
  }
  return report;
}

function decodeAccepted(row: Cbor): ReportedValue {
  const [at, ballot, hash, configuration] = asArray(row, 4);
  const reported: ReportedValue = {
    slot: slot(asInteger(at, 1)),
    ballot: decodeBallot(ballot),
    hash: asBytes(hash, HASH_BYTES),
    configuration: orNull(configuration, (bytes) => asBytes(bytes)),
  };
  if (reported.configuration === null) return reported;
  const value = decodeValue(reported.configuration, batchHash);
  if (value.kind !== 'configuration' || !equal(value.hash, reported.hash)) {
    throw new FormatError('a configuration with the hash of another value');
  }
  return reported;
}

const ascends = (numbers: readonly number[]): boolean =>
  numbers.every((n, i) => i === 0 || n > (numbers[i - 1] as number));

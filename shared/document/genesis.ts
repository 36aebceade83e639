import { asArray, asBytes, asInteger, encodeCbor, FormatError } from '../base/cbor.ts';
import {
  type GroupId,
  groupIdOf,
  type Incarnation,
  incarnationBytes,
  incarnationFromBytes,
  keyFromPeer,
  type PeerId,
  peerFromKey,
} from '../base/ids.ts';
import { decodeStrictly } from './strict.ts';
import { TIME_MAX_MS } from './types.ts';

/**
 * Slot 0: how a group begins. CBOR `[1, α, level, founder peer (32), founder incarnation (16), nonce (16), time]`; the
 * group's id is the hash of these bytes. The founder is keeper. Title and names come by commands.
 */
export interface Genesis {
  readonly alpha: number;
  readonly level: number;
  readonly founder: PeerId;
  readonly incarnation: Incarnation;
  /** 16 random bytes: the same founder can found many groups. */
  readonly nonce: Uint8Array;
  readonly timeMs: number;
}

const VERSION = 1;
const ALPHA_MAX = 4096;
const LEVEL_MAX = 1000;

export function encodeGenesis(genesis: Genesis): Uint8Array {
  return encodeCbor([
    VERSION,
    genesis.alpha,
    genesis.level,
    keyFromPeer(genesis.founder),
    incarnationBytes(genesis.incarnation),
    genesis.nonce,
    genesis.timeMs,
  ]);
}

/** @throws FormatError */
export function decodeGenesis(bytes: Uint8Array): Genesis {
  return decodeStrictly(bytes, (value) => {
    const [version, alpha, level, founder, incarnation, nonce, timeMs] = asArray(value, 7);
    if (version !== VERSION) throw new FormatError('a genesis of another version');
    return {
      alpha: asInteger(alpha, 1, ALPHA_MAX),
      level: asInteger(level, 1, LEVEL_MAX),
      founder: peerFromKey(asBytes(founder, 32)),
      incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
      nonce: asBytes(nonce, 16),
      timeMs: asInteger(timeMs, 0, TIME_MAX_MS),
    };
  });
}

export const groupOf = (genesis: Uint8Array): GroupId => groupIdOf(genesis);

import { asArray, asBoolean, asBytes, asInteger, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { type Slot, slot } from '../base/ids.ts';

/** What replicas tell each other in every heartbeat, above the consensus: CBOR `[1, levelMax, applied, state, staysOn, logBytes, stateBytes]`. */
export interface Note {
  /** The newest format level that the sender can read (R10). */
  readonly levelMax: number;
  readonly applied: Slot;
  /** The state hash after `applied`: equal slots must have equal states. */
  readonly state: Uint8Array;
  /** A machine that is meant to stay on: preferred as a voter. */
  readonly staysOn: boolean;
  /** What the values with commands up to `applied` come to, and the state after it: whoever is behind chooses by them how to catch up. */
  readonly logBytes: number;
  readonly stateBytes: number;
}

export function encodeNote(n: Note): Uint8Array {
  return encodeCbor([1, n.levelMax, n.applied, n.state, n.staysOn, n.logBytes, n.stateBytes]);
}

/** @throws FormatError */
export function decodeNote(bytes: Uint8Array): Note {
  const [version, levelMax, applied, state, staysOn, logBytes, stateBytes] = asArray(decodeCbor(bytes), 7);
  if (version !== 1) throw new FormatError('a note of another version');
  return {
    levelMax: asInteger(levelMax, 1),
    applied: slot(asInteger(applied)),
    state: asBytes(state, 32),
    staysOn: asBoolean(staysOn),
    logBytes: asInteger(logBytes),
    stateBytes: asInteger(stateBytes),
  };
}

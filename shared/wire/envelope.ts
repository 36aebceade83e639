import { asArray, asBytes, asInteger, asText, decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { type GroupId, type Incarnation, incarnationBytes, incarnationFromBytes, parseGroupId } from '../base/ids.ts';

/** Which layer a frame's body is for. */
export type Layer = 'consensus' | 'session' | 'snapshot';

/**
 * What stands on every frame between members, so that a store that was copied, rolled back or recovered can be noticed: CBOR
 * `[1, group, epoch, incarnation, nonce, turn, layer, body]`.
 */
export interface Envelope {
  readonly group: GroupId;
  /** The consensus epoch, 32 bytes; changes only by forced recovery. Frames of another epoch are dropped. */
  readonly epoch: Uint8Array;
  /** The sender's store. */
  readonly incarnation: Incarnation;
  /** Drawn at each start, 8 bytes: one store seen under two nonces at once runs twice. */
  readonly nonce: Uint8Array;
  /** The sender's last durable turn; 0 where it neither votes nor writes, or has written nothing yet. */
  readonly turn: number;
  readonly layer: Layer;
  readonly body: Uint8Array;
}

const LAYERS: readonly Layer[] = ['consensus', 'session', 'snapshot'];
const VERSION = 1;

export function encodeEnvelope(e: Envelope): Uint8Array {
  return encodeCbor([
    VERSION,
    e.group,
    e.epoch,
    incarnationBytes(e.incarnation),
    e.nonce,
    e.turn,
    LAYERS.indexOf(e.layer),
    e.body,
  ]);
}

/** @throws FormatError */
export function decodeEnvelope(frame: Uint8Array): Envelope {
  const [version, group, epoch, incarnation, nonce, turn, layer, body] = asArray(decodeCbor(frame), 8);
  if (version !== VERSION) throw new FormatError('an envelope of another version');
  return {
    group: parseGroupId(asText(group, 26)),
    epoch: asBytes(epoch, 32),
    incarnation: incarnationFromBytes(asBytes(incarnation, 16)),
    nonce: asBytes(nonce, 8),
    turn: asInteger(turn),
    layer: LAYERS[asInteger(layer, 0, LAYERS.length - 1)] as Layer,
    body: asBytes(body),
  };
}

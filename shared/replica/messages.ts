import type { PeerId } from '../base/ids.ts';
import { decodeMessage, encodeMessage } from '../consensus/codec.ts';
import type { Message } from '../consensus/messages.ts';
import { batchHash } from '../document/index.ts';
import type { Envelope } from '../wire/envelope.ts';
import { decodeSessionMessage, encodeSessionMessage, type SessionMessage } from '../wire/session-messages.ts';
import { decodeSnapshotMessage, encodeSnapshotMessage, type SnapshotMessage } from '../wire/snapshot-messages.ts';

/** Which stream a message travels on, so that consensus never waits behind a bulk transfer. */
export type Purpose = 'consensus' | 'session' | 'bulk';

export type GroupMessage =
  | { readonly layer: 'consensus'; readonly message: Message }
  | { readonly layer: 'session'; readonly message: SessionMessage }
  | { readonly layer: 'snapshot'; readonly message: SnapshotMessage };

/** Who speaks, and from when: what a frame says beside its message. */
export type FrameHead = Pick<Envelope, 'epoch' | 'incarnation' | 'nonce' | 'turn'>;

/** A message on its way out; `frameOf` makes its bytes once for all its receivers. */
export type Outgoing = GroupMessage & { readonly to: readonly PeerId[]; readonly purpose: Purpose };

/** @throws FormatError */
export function decodeBody({ layer, body }: Envelope): GroupMessage {
  switch (layer) {
    case 'consensus':
      return { layer, message: decodeMessage(body, batchHash) };
    case 'session':
      return { layer, message: decodeSessionMessage(body) };
    case 'snapshot':
      return { layer, message: decodeSnapshotMessage(body) };
  }
}

export function encodeBody(m: GroupMessage): Uint8Array {
  switch (m.layer) {
    case 'consensus':
      return encodeMessage(m.message);
    case 'session':
      return encodeSessionMessage(m.message);
    case 'snapshot':
      return encodeSnapshotMessage(m.message);
  }
}

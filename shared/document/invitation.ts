import { concat } from '../base/bytes.ts';
import { encodeCbor } from '../base/cbor.ts';
import type { SignedBytes } from '../base/crypto.ts';
import { domain } from '../base/hash.ts';
import { type GroupId, type Incarnation, incarnationBytes, keyFromPeer, type PeerId } from '../base/ids.ts';
import type { AdmitBody } from './bodies.ts';

export interface Joiner {
  readonly group: GroupId;
  readonly peer: PeerId;
  readonly incarnation: Incarnation;
  readonly name: string;
}

/** What a joiner signs with the invitation's key: `'invitation' ‖ CBOR [group, joiner peer (32), incarnation (16), name]`. */
export function invitationBytes(joiner: Joiner): Uint8Array {
  const fields = [joiner.group, keyFromPeer(joiner.peer), incarnationBytes(joiner.incarnation), joiner.name];
  return concat(domain('invitation'), encodeCbor(fields));
}

/** What a verifier is asked about an admission. */
export function admissionSignature(group: GroupId, body: AdmitBody): SignedBytes {
  const { joiner: peer, incarnation, name } = body;
  return {
    publicKey: body.key,
    bytes: invitationBytes({ group, peer, incarnation, name }),
    signature: body.signature,
  };
}

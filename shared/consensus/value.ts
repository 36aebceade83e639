import { concat, EMPTY } from '../base/bytes.ts';
import { decodeCbor, encodeCbor, FormatError } from '../base/cbor.ts';
import { hashFor } from '../base/hash.ts';
import { type Configuration, decodeConfiguration, encodeConfiguration } from './configuration.ts';

/**
 * What is chosen in a slot. Stored and sent as one byte for the kind and then the kind's own bytes. The core looks inside
 * configurations only; commands are opaque to it, and their hash comes from the layer that knows them (it leaves payloads out, so that
 * a payload can be deleted later without breaking the chain).
 */
export type Value =
  | { readonly kind: 'noop'; readonly bytes: Uint8Array; readonly hash: Uint8Array }
  | {
      readonly kind: 'configuration';
      readonly bytes: Uint8Array;
      readonly hash: Uint8Array;
      /** Null where this version can't read it: such a peer stops voting from α slots later on. */
      readonly configuration: Configuration | null;
    }
  | { readonly kind: 'commands'; readonly bytes: Uint8Array; readonly hash: Uint8Array; readonly payload: Uint8Array };

const KIND_NOOP = 0;
const KIND_CONFIGURATION = 1;
const KIND_COMMANDS = 2;

/** The hash of a payload of commands: 32 bytes over what may never be deleted of it. @throws FormatError */
export type HashPayload = (payload: Uint8Array) => Uint8Array;

export const NOOP: Value = (() => {
  const bytes = Uint8Array.of(KIND_NOOP);
  return { kind: 'noop', bytes, hash: hashFor('value', bytes, EMPTY) };
})();

export function configurationValue(configuration: Configuration): Value {
  const bytes = concat(Uint8Array.of(KIND_CONFIGURATION), encodeCbor(encodeConfiguration(configuration)));
  return { kind: 'configuration', bytes, hash: hashFor('value', bytes), configuration };
}

export function commandsValue(payload: Uint8Array, hash: HashPayload): Value {
  const kind = Uint8Array.of(KIND_COMMANDS);
  return { kind: 'commands', bytes: concat(kind, payload), hash: hashFor('value', kind, hash(payload)), payload };
}

/** @throws FormatError */
export function decodeValue(bytes: Uint8Array, hash: HashPayload): Value {
  switch (bytes[0]) {
    case KIND_NOOP:
      if (bytes.length !== 1) throw new FormatError('a no-op carries nothing');
      return NOOP;
    case KIND_CONFIGURATION: {
      let configuration: Configuration | null = null;
      try {
        configuration = decodeConfiguration(decodeCbor(bytes.subarray(1)));
      } catch (error) {
        if (!(error instanceof FormatError)) throw error;
      }
      return { kind: 'configuration', bytes, hash: hashFor('value', bytes), configuration };
    }
    case KIND_COMMANDS: {
      const payload = bytes.subarray(1);
      return { kind: 'commands', bytes, hash: hashFor('value', bytes.subarray(0, 1), hash(payload)), payload };
    }
    default:
      throw new FormatError('an unknown kind of value');
  }
}

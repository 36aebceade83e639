import { type Cbor, decodeCbor, FormatError } from '../base/cbor.ts';

/**
 * Decodes untrusted bytes: whatever goes wrong is a FormatError. (Arrays nested thousands deep exhaust the stack in the
 * CBOR library, which is the sender's fault and nobody else's.)
 */
export function decodeStrictly<T>(bytes: Uint8Array, read: (value: Cbor) => T): T {
  try {
    return read(decodeCbor(bytes));
  } catch (error) {
    if (error instanceof FormatError) throw error;
    throw new FormatError(`can't be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

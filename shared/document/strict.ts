import { type Cbor, decodeCbor, FormatError } from '../base/cbor.ts';

/**
 * Decodes untrusted bytes: whatever is wrong with them is a FormatError. Arrays nested thousands deep can exhaust the stack
 * (RangeError), which is the sender's fault; any other error is this code's and goes through.
 */
export function decodeStrictly<T>(bytes: Uint8Array, read: (value: Cbor) => T): T {
  try {
    return read(decodeCbor(bytes));
  } catch (error) {
    if (error instanceof RangeError) throw new FormatError(`nested too deep: ${error.message}`);
    throw error;
  }
}

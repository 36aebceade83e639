import * as v from 'valibot';
import { isErrorCode } from './errors.ts';

/**
 * What travels over the socket between a client and its peer, one JSON text a message. The client numbers its requests;
 * answers to several requests interleave, those to one come in order.
 *
 *   client → peer   {id, method, params}   asks
 *                   {cancel: id}           no longer wants the answer; none comes any more
 *   peer → client   {id, result}           the answer of a call, the last message of its id
 *                   {id, event}            one item of a stream
 *                   {id, done: true}       the stream ended well, the last message of its id
 *                   {id, error}            the request failed, the last message of its id
 */
export const PROTOCOL = 'synod.1';

/**
 * The code that a page's socket is closed with where its token is wrong: no browser tells a page the status of an HTTP refusal, so without it a page
 * would take this peer for one that is away.
 */
export const WRONG_TOKEN_CLOSE = 4401;

/**
 * The largest message. An entry of 1 MiB of control characters takes six times that in JSON; with room for the rest of
 * the message. Bytes.
 */
export const MESSAGE_BYTES_MAX = 8 * 1024 * 1024;

const id = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const request = v.strictObject({ id, method: v.string(), params: v.unknown() });
const cancel = v.strictObject({ cancel: id });
export type Request = v.InferOutput<typeof request>;
export type Cancel = v.InferOutput<typeof cancel>;
export type ClientMessage = Request | Cancel;

const failure = v.object({ code: v.custom<string>((code) => isErrorCode(code)), message: v.string() });
const serverMessage = v.union([
  v.strictObject({ id, event: v.unknown() }),
  v.strictObject({ id, result: v.unknown() }),
  v.strictObject({ id, done: v.literal(true) }),
  v.strictObject({ id, error: failure }),
]);
export type ServerMessage = v.InferOutput<typeof serverMessage>;

/** Null for what is no message. */
export function readClientMessage(text: string): ClientMessage | null {
  return read(v.union([request, cancel]), text);
}

export function readServerMessage(text: string): ServerMessage | null {
  return read(serverMessage, text);
}

function read<T>(schema: v.GenericSchema<unknown, T>, text: string): T | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = v.safeParse(schema, value);
  return parsed.success ? parsed.output : null;
}

import { FormatError } from '../base/cbor.ts';
import {
  type Body,
  commandBytesMax,
  decodePayload,
  encodePayload,
  KINDS,
  nameProblem,
  normalizeText,
  type Refused,
  RUN_BYTES_MAX,
  RUN_COMMANDS_MAX,
  RUN_OVERHEAD_BYTES,
  SINGLE_RUN_BYTES_MAX,
  type SingleBody,
  TITLE_MAX_BYTES,
  textProblem,
} from '../document/index.ts';
import type { Item, Written } from './items.ts';

/** What the author's peer does to texts before they are signed. */
export function normalized(body: Body): Body {
  if (body.kind === 'bundle') return { kind: 'bundle', bodies: body.bodies.map(normalizedOne) };
  return normalizedOne(body);
}

function normalizedOne(body: SingleBody): SingleBody {
  return body.kind === 'create' || body.kind === 'edit' ? { ...body, text: normalizeText(body.text) } : body;
}

/** What no peer would take, found before it costs a seq. Null where nothing is wrong. */
export function problemOf(body: Body): Refused | null {
  for (const each of body.kind === 'bundle' ? body.bodies : [body]) {
    const problem = textOf(each);
    if (problem) return { refused: problem, detail: each.kind };
  }
  return null;
}

function textOf(body: SingleBody) {
  switch (body.kind) {
    case 'create':
    case 'edit':
      return textProblem(body.text);
    case 'rename':
      return nameProblem(body.title, TITLE_MAX_BYTES);
    case 'profile':
    case 'admit':
      return nameProblem(body.name);
    default:
      return null;
  }
}

/** The payload, held against the very decoder that will judge it. */
export function sealed(body: Body, writer: string): Uint8Array | Refused {
  const payload = encodePayload({ writer, body });
  if (payload.length + RUN_OVERHEAD_BYTES > SINGLE_RUN_BYTES_MAX) {
    return { refused: 'TEXT_TOO_LONG', detail: `${payload.length} bytes in one command` };
  }
  try {
    decodePayload(KINDS[body.kind], payload);
    return payload;
  } catch (error) {
    if (error instanceof FormatError) return { refused: 'MALFORMED', detail: error.message };
    throw error;
  }
}

/** The command's own part of what its author said. */
export function writtenOf({ command, writer }: Item): Written {
  const { timeMs, offsetMinutes, saw, level } = command;
  return { writer, timeMs, offsetMinutes, saw, level };
}

/** Cuts commands into runs: at most 256 and 256 KiB, a larger one alone, the opening of a session alone. */
export function* portions(items: readonly Item[]): Generator<readonly Item[]> {
  let portion: Item[] = [];
  let bytes = RUN_OVERHEAD_BYTES;
  for (const item of items) {
    const more = commandBytesMax(item.command);
    const opens = portion[0]?.body.kind === 'openSession';
    if (portion.length > 0 && (opens || portion.length === RUN_COMMANDS_MAX || bytes + more > RUN_BYTES_MAX)) {
      yield portion;
      portion = [];
      bytes = RUN_OVERHEAD_BYTES;
    }
    portion.push(item);
    bytes += more;
  }
  if (portion.length > 0) yield portion;
}

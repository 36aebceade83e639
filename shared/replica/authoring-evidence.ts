import { equal } from '../base/bytes.ts';
import { FormatError } from '../base/cbor.ts';
import {
  type Body,
  type Command,
  type DocumentReader,
  decodePayload,
  REFUSALS_KEPT,
  type Run,
  type SessionRecord,
  tagOf,
  UnknownKindError,
} from '../document/index.ts';
import { entryOf, placedBodies } from '../session/index.ts';

export interface Evidence {
  /** Each command of the run took effect. */
  readonly took: boolean;
  /** The run is what was judged, and so is all that it follows on. */
  readonly isOfTheChain: boolean;
}

/**
 * What the state still tells of a run whose numbers are used up. That alone says little: a refusal uses a number up as well, and a store that was put back may have given it
 * to another command. In doubt a command did not take effect. What proves it is the tag that it leaves on a revision; and since each command names the hash of the one
 * before, a proof holds for those before it as well, which then took effect if the session remembers no refusal.
 * @param isFollowed something that follows on the run is of the chain
 */
export function evidenceOf(reader: DocumentReader, run: Run, record: SessionRecord, isFollowed: boolean): Evidence {
  if (run.lastSeq > record.lastSeq) return { took: false, isOfTheChain: false };
  let took = true;
  let isOfTheChain = isFollowed || equal(run.lastHash, record.lastHash);
  for (const command of run.commands.toReversed()) {
    if (leftItsTag(reader, run, command)) isOfTheChain = true;
    else if (!isOfTheChain || mayBeRefused(record, command)) took = false;
  }
  return { took, isOfTheChain };
}

/** Whether a run can still follow on what was judged of its session, as far as is known here. */
export function mayFollow(run: Run, { lastSeq, lastHash }: SessionRecord): boolean {
  if (run.firstSeq > lastSeq + 1) return true;
  if (run.firstSeq === lastSeq + 1) return equal(run.prev, lastHash);
  return run.commands.some(({ seq, hash }) => seq === lastSeq && equal(hash, lastHash));
}

/** It was, or that is so long ago that the session would not tell any more. */
function mayBeRefused({ refusals }: SessionRecord, { seq }: Command): boolean {
  const [oldest] = refusals;
  const isForgotten = refusals.length === REFUSALS_KEPT && oldest !== undefined && seq < oldest.seq;
  return isForgotten || refusals.some((each) => each.seq === seq);
}

/** A bundle is taken as a whole or not at all, so one tag of it is enough. */
function leftItsTag(reader: DocumentReader, run: Run, command: Command): boolean {
  const body = bodyOf(command);
  if (body === null) return false;
  return placedBodies(body).some((placed) => {
    const entry = entryOf(run, command.seq, placed);
    const tag = tagOf(command.hash, placed.index);
    return entry !== null && reader.history(entry).some((revision) => equal(revision.tag, tag));
  });
}

/** Null where its content was deleted, or is none that this version can read. */
function bodyOf({ kind, payload }: Command): Body | null {
  if (payload === null) return null;
  try {
    return decodePayload(kind, payload).body;
  } catch (error) {
    if (error instanceof FormatError || error instanceof UnknownKindError) return null;
    throw error;
  }
}

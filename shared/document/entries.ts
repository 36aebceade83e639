import { equal } from '../base/bytes.ts';
import { type EntryId, position as positionOf } from '../base/ids.ts';
import type { CreateBody, EditBody, RemoveBody, RestoreBody } from './bodies.ts';
import { keyedEntryId, numberedEntryId, tagOf } from './command.ts';
import { type Judging, type Refused, refuse, type Took } from './judging.ts';
import {
  type EntryRecord,
  entryPlace,
  type MetaRecord,
  metaPlace,
  positionPlace,
  type RevisionRecord,
  revisionPlace,
} from './records.ts';
import { textProblem } from './text.ts';

export function create(judging: Judging, body: CreateBody): Took | Refused {
  const problem = textProblem(body.text);
  if (problem) return refuse(problem, 'the text of a new entry');
  if (body.key === null) {
    const id = numberedEntryId(judging.run, judging.command.seq, judging.index ?? 0);
    return place(judging, id, body.text);
  }
  const id = keyedEntryId(judging.group, judging.run.peer, body.key);
  const entry = entryOf(judging, id);
  return entry ? again(judging, entry, body.text) : place(judging, id, body.text);
}

function entryOf({ state }: Judging, id: EntryId): EntryRecord | undefined {
  const position = state.get(positionPlace(id));
  return position && state.must(entryPlace(position));
}

function place(judging: Judging, id: EntryId, text: string): Took {
  const { state, slot } = judging;
  const meta = state.get(metaPlace) as MetaRecord;
  const position = positionOf(meta.positions + 1);
  const tag = tagOf(judging.command.hash, judging.index);
  state.put(metaPlace, { ...meta, positions: position });
  state.create(positionPlace(id), position);
  state.create(entryPlace(position), { id, position, slot, revision: 1, removed: false, tag, textRevision: 1 });
  state.create(revisionPlace(position, 1), revision(judging, { kind: 'create', text, textRevision: 1, tag }));
  judging.changes.push({ type: 'entry', what: 'create', entry: id, position, revision: 1 });
  return { entry: id, position, slot, revision: 1 };
}

/** The key was used before: the same text is the same entry, and nothing changes. */
function again(judging: Judging, entry: EntryRecord, text: string): Took | Refused {
  const first = judging.state.must(revisionPlace(entry.position, 1));
  if (first.text !== text) return refuse('KEY_REUSED', `stands for ${entry.id}, which began with another text`);
  return { entry: entry.id, position: entry.position, slot: entry.slot, revision: entry.revision };
}

export function edit(judging: Judging, body: EditBody): Took | Refused {
  const problem = textProblem(body.text);
  if (problem) return refuse(problem, 'the text of an edit');
  const entry = entryOf(judging, body.entry);
  if (!entry) return refuse('NO_SUCH_ENTRY', body.entry);
  if (entry.removed) return refuse('ENTRY_REMOVED', body.entry);
  if (entry.revision !== body.baseRevision || !equal(entry.tag, body.baseTag)) {
    return refuse('STALE_BASE', `made on revision ${body.baseRevision}, now at ${entry.revision}`);
  }
  return revise(judging, entry, {
    kind: 'edit',
    text: body.text,
    textRevision: entry.revision + 1,
    overlap: body.overlap,
  });
}

export function remove(judging: Judging, body: RemoveBody): Took | Refused {
  const entry = entryOf(judging, body.entry);
  if (!entry) return refuse('NO_SUCH_ENTRY', body.entry);
  if (entry.removed) return refuse('ENTRY_REMOVED', body.entry);
  return revise(judging, entry, { kind: 'remove', text: null, textRevision: entry.textRevision });
}

export function restore(judging: Judging, body: RestoreBody): Took | Refused {
  const entry = entryOf(judging, body.entry);
  if (!entry) return refuse('NO_SUCH_ENTRY', body.entry);
  if (body.revision === null) {
    if (!entry.removed) return refuse('NOT_REMOVED', body.entry);
    return revise(judging, entry, { kind: 'restore', text: null, textRevision: entry.textRevision });
  }
  if (body.revision > entry.revision) return refuse('NO_SUCH_REVISION', `${body.entry} ${body.revision}`);
  const wanted = judging.state.must(revisionPlace(entry.position, body.revision));
  return revise(judging, entry, { kind: 'restore', text: null, textRevision: wanted.textRevision });
}

type Making = Pick<RevisionRecord, 'kind' | 'text' | 'textRevision'> & { readonly overlap?: boolean };

function revise(judging: Judging, entry: EntryRecord, making: Making): Took {
  const number = entry.revision + 1;
  const tag = tagOf(judging.command.hash, judging.index);
  const { id, position } = entry;
  judging.state.put(entryPlace(position), {
    ...entry,
    revision: number,
    removed: making.kind === 'remove',
    tag,
    textRevision: making.textRevision,
  });
  judging.state.create(revisionPlace(position, number), revision(judging, { ...making, tag }));
  judging.changes.push({ type: 'entry', what: making.kind, entry: id, position, revision: number });
  return { entry: id, position, slot: judging.slot, revision: number };
}

function revision(judging: Judging, making: Making & { readonly tag: Uint8Array }): RevisionRecord {
  return {
    slot: judging.slot,
    author: judging.run.peer,
    writer: judging.writer,
    timeMs: judging.command.timeMs,
    offsetMinutes: judging.command.offsetMinutes,
    placedMs: judging.placedMs,
    kind: making.kind,
    text: making.text,
    textRevision: making.textRevision,
    tag: making.tag,
    overlap: making.overlap ?? false,
    clock: judging.clock,
  };
}

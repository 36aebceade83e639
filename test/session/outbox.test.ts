import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FormatError } from '../../shared/base/cbor.ts';
import type { EntryId } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import { type Body, decodeRun, numberedEntryId, REFUSALS_KEPT, RUN_BYTES_MAX } from '../../shared/document/index.ts';
import { verifyRun } from '../../shared/document/run.ts';
import { Outbox } from '../../shared/session/index.ts';
import { decodeRefused, decodeRunRow, decodeSettled } from '../../shared/session/rows.ts';
import { editOf, fakeVerifier, idAt, Log, MemoryKv, START_MS, write } from '../document/fixture.ts';
import { agree, Desk, must, settle } from './desk.ts';

/** Ana and Ben at their desks, an entry agreed on. */
function two(text = 'Bed 4: paracetamol given.') {
  const log = new Log();
  const ben = new Desk(log, log.join('Ben'));
  // Ana's desk goes on where the fixture's own commands ended.
  const ana = new Desk(log, log.ana);
  const entry = ana.write(text);
  settle(log, ana, ben);
  return { log, ana, ben, entry };
}

const textOf = (log: Log, entry: EntryId) => log.read.text(entry);

describe('a command of one’s own', () => {
  test('is saved, sent, agreed on, and then gone from the disk', () => {
    const { log, ana } = two();
    const told = ana.add(write('Doctor called.'));
    expect(ana.rows()).toEqual([]);
    ana.save();
    expect(ana.rows()).toHaveLength(1);
    expect([ana.outbox.pending, ana.answer(told)]).toEqual([1, undefined]);
    agree(log, ana);
    expect([ana.outbox.pending, ana.answer(told)]).toEqual([0, 'took 1']);
    expect(ana.rows()).toEqual([]);
    expect(told.entries).toEqual([idAt(log, 2)]);
  });

  test('follows on the ones before it, over restarts', () => {
    const { log, ana } = two();
    for (const text of ['a', 'b', 'c']) {
      ana.write(text);
      ana.save();
      ana.restart();
    }
    const before = [ana.outbox.lastSeq, ana.outbox.pending];
    agree(log, ana);
    ana.restart();
    ana.write('d');
    settle(log, ana);
    expect(before).toEqual([ana.outbox.lastSeq - 1, 3]);
    expect(log.lines.slice(1)).toEqual(['#2 a', '#3 b', '#4 c', '#5 d']);
  });

  test('that was not cut is forgotten by a crash, and its seq is free again', () => {
    const { log, ana } = two();
    ana.write('kept');
    ana.save();
    ana.write('never saved');
    ana.restart();
    ana.write('next');
    settle(log, ana);
    expect(log.lines.slice(1)).toEqual(['#2 kept', '#3 next']);
  });

  test('is told from another one that took its number after a write failed', () => {
    const { log, ana } = two();
    const lost = ana.add(write('never saved'));
    ana.restart();
    expect(ana.outbox.holds(lost)).toBe(false);
    const other = ana.add(write('another'));
    expect(other.seq).toBe(lost.seq);
    expect([ana.outbox.holds(lost), ana.outbox.holds(other)]).toEqual([false, true]);
    ana.save();
    ana.restart();
    expect([ana.outbox.holds(lost), ana.outbox.holds(other)]).toEqual([false, true]);
    agree(log, ana);
    expect(ana.outbox.holds(other)).toBe(true);
  });

  test('is cleaned of carriage returns, and refused at once where nobody would take it', () => {
    const { log, ana, entry } = two();
    const one = ana.write('a\r\nb\rc');
    const seq = ana.outbox.lastSeq;
    const refusal = (body: Body) => ana.outbox.add(body, ana.written);
    expect(refusal(write(''))).toMatchObject({ refused: 'TEXT_EMPTY' });
    expect(refusal(write('x'.repeat(2 ** 20 + 1)))).toMatchObject({ refused: 'TEXT_TOO_LONG' });
    expect(refusal(write('x', 'k'.repeat(1025)))).toMatchObject({ refused: 'MALFORMED' });
    expect(refusal({ kind: 'rename', title: 'a\nb' })).toMatchObject({ refused: 'TEXT_BAD' });
    expect(refusal({ kind: 'bundle', bodies: [] })).toMatchObject({ refused: 'MALFORMED' });
    const large = { kind: 'create', key: null, text: 'x'.repeat(2 ** 20) } as const;
    expect(refusal({ kind: 'bundle', bodies: [large, large] })).toMatchObject({ refused: 'TEXT_TOO_LONG' });
    expect(ana.tryEdit(entry, '')).toMatchObject({ refused: 'TEXT_EMPTY' });
    expect(ana.tryEdit('eabcdefghijklmnopqrstuvwxy' as EntryId, 'x')).toMatchObject({ refused: 'NO_SUCH_ENTRY' });
    expect(ana.outbox.lastSeq).toBe(seq);
    settle(log, ana);
    expect(textOf(log, one)).toBe('a\nb\nc');
    ana.write('x'.repeat(2 ** 20));
    settle(log, ana);
  });

  test('is discharged by its own hash alone', () => {
    const { log, ana } = two();
    ana.write('mine');
    ana.save();
    const copy = new Desk(log, log.author('Ana', 1));
    copy.write('what a copy of this machine wrote');
    const { outcomes } = log.apply(...copy.runs());
    ana.hear(outcomes);
    expect([ana.forked, ana.outbox.pending]).toEqual([true, 1]);
    ana.forked = false;
    ana.restart();
    expect(ana.forked).toBe(true);
  });

  test('of somebody who lost the rows goes on behind what was judged; news of unknown own commands is a fork', () => {
    const { log, ana } = two();
    const copy = new Desk(log, log.author('Ana', 1));
    copy.write('from the copy');
    ana.hear(log.apply(...copy.runs()).outcomes);
    expect(ana.forked).toBe(true);
    const bare = new Desk(log, log.author('Ana', 1));
    bare.write('goes on');
    settle(log, bare);
    expect(log.lines.at(-1)).toBe('#3 goes on');
  });
});

describe('while the state is being made anew', () => {
  const nothing = new Log().read;

  /** An outbox that can read no state, and whose rows were settled long ago. */
  function bare(ana: Desk, tail: { readonly seq: number; readonly hash: Uint8Array } | null): Outbox {
    const outbox = new Outbox({ ...ana.author.session, random: (length) => new Random(5).bytes(length), tail });
    const blank = Object.assign(Object.create(nothing), { exists: () => false });
    expect(outbox.load([], blank)).toMatchObject({ settled: [], forked: false });
    return outbox;
  }

  test('what is written follows on where the session had come to, and is agreed', () => {
    const { log, ana } = two();
    const { lastSeq: seq, lastHash: hash } = ana.outbox;
    const outbox = bare(ana, { seq, hash });
    must(outbox.add(write('meanwhile'), ana.written));
    const { runs } = outbox.cut(ana.author.signer);
    expect(runs.map((run) => run.firstSeq)).toEqual([seq + 1]);
    log.apply(...runs);
    expect(log.lines.at(-1)).toBe('#2 meanwhile');
  });

  test('without that it would give a number twice', () => {
    const { log, ana } = two();
    const outbox = bare(ana, null);
    must(outbox.add(write('meanwhile'), ana.written));
    log.apply(...outbox.cut(ana.author.signer).runs);
    expect(log.lines).toHaveLength(1);
  });
});

describe('runs', () => {
  test('hold at most 256 commands and 256 KiB, a larger command alone', () => {
    const { log, ana } = two();
    for (let i = 0; i < 300; i++) ana.write(`${i}`);
    ana.write('x'.repeat(200_000));
    ana.write('y'.repeat(200_000));
    ana.write('z'.repeat(RUN_BYTES_MAX));
    ana.write('end');
    const runs = ana.runs();
    expect(runs.map((run) => run.commands.length)).toEqual([256, 45, 1, 1, 1]);
    for (const run of runs) {
      expect(decodeRun(Uint8Array.from(run.bytes)).lastHash).toEqual(run.lastHash);
      expect(verifyRun(run, fakeVerifier)).toBe(true);
    }
    settle(log, ana);
    expect(log.read.positions()).toBe(305);
  });

  test('are sent in order from where the other one is', () => {
    const { ana } = two();
    const start = ana.outbox.lastSeq;
    for (const text of ['a', 'b', 'c', 'd']) {
      ana.write(text.repeat(1000));
      ana.save();
    }
    const seqs = (after: number, bytes: number) =>
      ana.outbox.runsToSend(after, bytes).map((run) => run.firstSeq - start);
    expect(seqs(0, 1e9)).toEqual([1, 2, 3, 4]);
    expect(seqs(start + 2, 1e9)).toEqual([3, 4]);
    expect(seqs(0, 2500)).toEqual([1, 2]);
    expect(seqs(0, 1)).toEqual([1]);
    expect(seqs(start + 4, 1e9)).toEqual([]);
  });
});

describe('refused commands', () => {
  test('are kept with their wording and the reason until they are dismissed', () => {
    const { log, ana, ben } = two();
    ana.add(write('one', 'key'));
    const reused = ana.add(write('two', 'key'));
    const quiet = must(ana.outbox.add({ kind: 'expel', peer: ana.author.peer }, ana.written, { quiet: true }));
    settle(log, ana, ben);
    expect([ana.answer(reused), ana.answer(quiet)]).toEqual(['KEY_REUSED', 'LAST_KEEPER']);
    ana.restart();
    const [kept, ...more] = ana.outbox.refusedView();
    expect(more).toEqual([]);
    expect(kept).toMatchObject({ code: 'KEY_REUSED', writer: 'W', timeMs: START_MS, body: { text: 'two' } });
    ana.disk.write(ana.outbox.dismiss(kept?.key ?? ''));
    ana.restart();
    expect([ana.outbox.refusedView(), ana.rows()]).toEqual([[], []]);
  });

  test('of a removed member: all of them, each with its text', () => {
    const { log, ana, ben } = two();
    ben.write('a');
    ben.write('b');
    ana.add({ kind: 'expel', peer: ben.author.peer });
    agree(log, ana, ben);
    expect(ben.outbox.refusedView().map(({ code, body }) => [code, body.kind === 'create' && body.text])).toEqual([
      ['NOT_MEMBER', 'a'],
      ['NOT_MEMBER', 'b'],
    ]);
  });
});

describe('edits', () => {
  test('in a row build on each other before anything is agreed on', () => {
    const { log, ana, entry } = two();
    const answers = ['one', 'two', 'three'].map((text) => ana.edit(entry, text));
    const created = ana.write('draft');
    const edited = ana.edit(created, 'clean copy');
    settle(log, ana);
    expect(answers.map((each) => ana.answer(each))).toEqual(['took 2', 'took 3', 'took 4']);
    expect(ana.answer(edited)).toBe('took 2');
    expect([textOf(log, entry), textOf(log, created)]).toEqual(['three', 'clean copy']);
  });

  test('of two people at once: both are in, and each is told one result', () => {
    const { log, ana, ben, entry } = two('Bed 4: paracetamol given.');
    const first = ana.edit(entry, 'Bed 5: paracetamol given.');
    const second = ben.edit(entry, 'Bed 4: paracetamol 1 g given.');
    settle(log, ana, ben);
    expect(textOf(log, entry)).toBe('Bed 5: paracetamol 1 g given.');
    expect([ana.answer(first), ben.answer(second)]).toEqual(['took 2', 'took 3']);
    expect(log.read.history(entry).map((each) => each.overlap)).toEqual([false, false, false]);
    expect([ana.rows(), ben.rows(), ben.outbox.refusedView()]).toEqual([[], [], []]);
  });

  test('of the same words: both wordings stay, flagged', () => {
    const { log, ana, ben, entry } = two('at ten');
    ana.edit(entry, 'at nine');
    ben.edit(entry, 'at eleven');
    settle(log, ana, ben);
    expect(textOf(log, entry)).toBe('at nine eleven');
    expect(log.read.revision(entry, 3)?.overlap).toBe(true);
  });

  test('of the same wording twice: one revision, both are told', () => {
    const { log, ana, ben, entry } = two('at ten');
    const [a, b] = [ana.edit(entry, 'at nine'), ben.edit(entry, 'at nine')];
    settle(log, ana, ben);
    expect([ana.answer(a), ben.answer(b)]).toEqual(['took 2', 'took 2']);
    expect(log.read.entry(entry)?.revision).toBe(2);
  });

  test('a whole line of own edits, written offline, is merged with what came between', () => {
    const { log, ana, ben, entry } = two('Bed 4: given.');
    const answers = ['Bed 4: given at t', 'Bed 4: given at ten', 'Bed 4: given at ten.'].map((text) =>
      ben.edit(entry, text),
    );
    ben.save();
    ana.edit(entry, 'Bed 5: given.');
    settle(log, ana);
    settle(log, ben);
    // No wording that Ben himself replaced comes back.
    expect(textOf(log, entry)).toBe('Bed 5: given at ten.');
    expect(log.read.history(entry).map((each) => each.text)).toEqual([
      'Bed 4: given.',
      'Bed 5: given.',
      'Bed 5: given at t',
      'Bed 5: given at ten',
      'Bed 5: given at ten.',
    ]);
    expect(answers.map((each) => ben.answer(each))).toEqual(['took 3', 'took 4', 'took 5']);
  });

  test('that overlap do not pile up the words that their author replaced', () => {
    const { log, ana, ben, entry } = two('given');
    for (const text of ['given f', 'given fo', 'given foo']) ben.edit(entry, text);
    ben.save();
    ana.edit(entry, 'given bar');
    settle(log, ana);
    settle(log, ben);
    expect(textOf(log, entry)).toBe('given bar foo');
  });

  test('that lose again and again are merged again and again', () => {
    const { log, ana, ben, entry } = two('a b c d');
    const mine = ben.edit(entry, 'a b c D');
    for (const text of ['A b c d', 'A B c d', 'A B C d']) {
      ana.edit(entry, text);
      ana.save();
      const bens = ben.runs();
      const { outcomes } = log.apply(...ana.runs(), ...bens);
      for (const desk of [ana, ben]) desk.hear(outcomes);
      expect(ben.outbox.pending).toBe(1);
    }
    settle(log, ana, ben);
    expect([textOf(log, entry), ben.answer(mine)]).toEqual(['A B C D', 'took 5']);
  });

  test('of an entry that was removed meanwhile are not taken, and their text is kept', () => {
    const { log, ana, ben, entry } = two('one');
    ana.add({ kind: 'remove', entry });
    const late = ben.edit(entry, 'one and a half');
    settle(log, ana, ben);
    expect(ben.answer(late)).toBe('ENTRY_REMOVED');
    expect(ben.outbox.refusedView()).toMatchObject([{ code: 'ENTRY_REMOVED', body: { text: 'one and a half' } }]);
    expect(ben.tryEdit(entry, 'two')).toMatchObject({ refused: 'ENTRY_REMOVED' });
  });

  test('of an entry removed after the edit lost its race: kept too', () => {
    const { log, ana, ben, entry } = two('one');
    const late = ben.edit(entry, 'one B');
    ben.save();
    ana.edit(entry, 'A one');
    settle(log, ana);
    agree(log, ben);
    ana.add({ kind: 'remove', entry });
    settle(log, ana, ben);
    expect(ben.answer(late)).toBe('ENTRY_REMOVED');
    expect(ben.outbox.refusedView()).toMatchObject([{ body: { text: 'A one B' } }]);
  });

  test('made in a window that showed an older revision are merged before they are sent', () => {
    const { log, ana, ben, entry } = two('a b c');
    const shown = log.read.entry(entry);
    if (!shown) throw new Error('no entry');
    ana.edit(entry, 'A b c');
    settle(log, ana, ben);
    const saved = ben.edit(entry, 'a b C', { revision: shown.revision, tag: shown.tag });
    expect(ben.outbox.current(log.read, entry)?.text).toBe('A b C');
    agree(log, ben);
    expect(ben.answer(saved)).toBe('took 3');
  });

  test('from two windows on one machine lose nothing of each other', () => {
    const { log, ana, entry } = two('a b c');
    const base = ana.outbox.current(log.read, entry);
    if (!base) throw new Error('no entry');
    ana.edit(entry, 'A b c', base);
    ana.edit(entry, 'a b C', base);
    settle(log, ana);
    expect(textOf(log, entry)).toBe('A b C');
  });

  test('go on from a window whose text was merged behind its back', () => {
    const { log, ana, ben, entry } = two('x y');
    ben.edit(entry, 'x y z');
    const open = ben.outbox.current(log.read, entry);
    ben.save();
    ana.edit(entry, 'X y');
    settle(log, ana);
    agree(log, ben);
    ben.edit(entry, 'x y zz', { revision: open?.revision ?? 0, tag: open?.tag as Uint8Array });
    settle(log, ben);
    expect(textOf(log, entry)).toBe('X y zz');
  });

  test('behind a removal and a restoration of one’s own', () => {
    const { log, ana, ben, entry } = two('one');
    ana.add({ kind: 'remove', entry });
    expect(ana.tryEdit(entry, 'x')).toMatchObject({ refused: 'ENTRY_REMOVED' });
    ana.add({ kind: 'restore', entry, revision: null });
    const edited = ana.edit(entry, 'one two');
    ben.edit(entry, 'zero one');
    agree(log, ben);
    settle(log, ana, ben);
    expect([textOf(log, entry), ana.answer(edited)]).toEqual(['zero one two', 'took 5']);
  });

  test('survive a crash between the refusal and the merged command', () => {
    const { log, ana, ben, entry } = two('a b c');
    const edits = ['a b C', 'a b CC'];
    for (const text of edits) ben.edit(entry, text);
    ben.save();
    ana.edit(entry, 'A b c');
    settle(log, ana);
    ben.hear(log.apply(...ben.runs()).outcomes);
    // Not cut: the merged commands are only in memory.
    ben.restart();
    expect(ben.outbox.pending).toBe(2);
    settle(log, ben);
    expect(textOf(log, entry)).toBe('A b CC');
    expect(log.read.entry(entry)?.revision).toBe(4);
    expect(ben.rows()).toEqual([]);
  });

  test('that stand in for others are not merged twice after a restart', () => {
    const { log, ana, ben, entry } = two('a b c');
    ben.edit(entry, 'a b C');
    ben.save();
    ben.edit(entry, 'a b CC');
    ben.save();
    ana.edit(entry, 'A b c');
    settle(log, ana);
    const [first] = ben.runs();
    ben.hear(log.apply(...(first ? [first] : [])).outcomes);
    ben.save();
    ben.restart();
    expect(ben.outbox.pending).toBe(2);
    settle(log, ben);
    expect([textOf(log, entry), log.read.entry(entry)?.revision]).toEqual(['A b CC', 4]);
  });

  test('that stand in for others are what their author is told about, once', () => {
    const { log, ana, ben, entry } = two('a b c');
    const edits = ['a b C', 'a b CC'].map((text) => {
      const pending = ben.edit(entry, text);
      ben.save();
      return pending;
    });
    ana.edit(entry, 'A b c');
    settle(log, ana);
    const [first] = ben.runs();
    ben.hear(log.apply(...(first ? [first] : [])).outcomes);
    settle(log, ben);
    expect(edits.map((each) => ben.answer(each))).toEqual(['took 3', 'took 4']);
  });

  test('of an entry that was pending itself go back to how it was agreed on', () => {
    const { log, ana, ben } = two();
    const entry = ben.write('given');
    ben.save();
    ben.edit(entry, 'given f');
    ben.edit(entry, 'given foo');
    ben.save();
    const [created] = ben.runs();
    ben.hear(log.apply(...(created ? [created] : [])).outcomes);
    ana.edit(entry, 'given bar');
    settle(log, ana);
    settle(log, ben);
    expect(textOf(log, entry)).toBe('given bar foo');
  });

  test('on an own entry whose key stood for another text keep both texts whole', () => {
    const { log, ana, ben } = two();
    const other = new Desk(log, log.author('Ben', 2));
    must(other.outbox.openSession(other.written));
    const made = other.write('mine', 'k');
    const edited = other.edit(made, 'mine, better');
    ben.write('from the other store', 'k');
    settle(log, ben);
    settle(log, ana, other);
    expect(other.answer(edited)).toMatch(/^took/);
    expect(textOf(log, made)).toBe('from the other store mine, better');
  });

  test('inside a bundle that came too late: the whole bundle is sent again', () => {
    const { log, ana, ben, entry } = two('a b c');
    const edit = editOf(log, entry, 'a b C') as never;
    const bundle = ben.add({ kind: 'bundle', bodies: [write('with it') as never, edit] });
    ben.save();
    ana.edit(entry, 'A b c');
    settle(log, ana);
    settle(log, ben);
    expect([textOf(log, entry), ben.answer(bundle)]).toEqual(['A b C', 'took 1,3']);
    expect(log.lines).toEqual(['#1 A b C', '#2 with it']);
  });
});

describe('what happened while nobody looked', () => {
  test('a snapshot that holds the own commands settles them by what the state tells', () => {
    const { log, ana, ben, entry } = two('a b c');
    const created = ben.add(write('new'));
    const stale = ben.edit(entry, 'a b C');
    const reused = ben.add(write('other', 'k'));
    const again = ben.add(write('another', 'k'));
    ben.save();
    ana.edit(entry, 'A b c');
    settle(log, ana);
    log.apply(...ben.runs());
    const settling = ben.outbox.reconcile(log.read);
    ben.disk.write(settling.ops);
    ben.told.push(...settling.settled);
    expect([created, reused, again].map((each) => ben.answer(each))).toEqual(['took 1', 'took 1', 'KEY_REUSED']);
    settle(log, ben);
    expect([ben.answer(stale), textOf(log, entry)]).toEqual(['took 3', 'A b C']);
  });

  test('even when so many were refused that the session forgot the first ones', () => {
    const { log, ana, ben, entry } = two('a b c');
    const stale = ben.edit(entry, 'a b C');
    const created = ben.add(write('fine'));
    const lost = ben.add({ kind: 'remove', entry: idAt(log, 1) });
    const ghost = numberedEntryId(ben.author.session, 999 as never, 0);
    for (let i = 0; i < REFUSALS_KEPT + 1; i++)
      ben.outbox.add({ kind: 'remove', entry: ghost }, ben.written, { quiet: true });
    ben.save();
    ana.edit(entry, 'A b c');
    ana.add({ kind: 'remove', entry });
    settle(log, ana);
    log.apply(...ben.runs());
    ben.restart();
    const codes = ben.outbox.refusedView().map((each) => [each.seq, each.code]);
    expect(codes).toEqual([
      [lost.seq, 'NO_RIGHTS'],
      [stale.seq, 'ENTRY_REMOVED'],
    ]);
    expect(textOf(log, created.entries[0] as EntryId)).toBe('fine');
  });
});

describe('a new incarnation', () => {
  function lostAndFound() {
    const { log, ana, ben, entry } = two('a b c');
    ben.write('agreed');
    settle(log, ben);
    const draft = ben.write('draft');
    ben.edit(draft, 'clean copy');
    ben.edit(entry, 'a b C');
    ben.write('keyed', 'k');
    ben.save();
    return { log, ana, ben, entry, next: new Desk(log, log.author('Ben', 2), ben.disk) };
  }

  test('signs again what the former one left, once its session is open, in the order it was written', () => {
    const { log, ana, entry, next } = lostAndFound();
    expect(next.outbox.needsOpenSession(log.read)).toBe(true);
    const opened = must(next.outbox.openSession(next.written));
    const later = next.add(write('written since'));
    next.save();
    expect(next.outbox.needsOpenSession(log.read)).toBe(false);
    expect(next.outbox.runsToSend(0, 1e9).map((run) => run.commands.length)).toEqual([1]);
    ana.edit(entry, 'A b c');
    settle(log, ana);
    settle(log, next);
    expect(log.lines).toEqual(['#1 A b C', '#2 agreed', '#3 clean copy', '#4 keyed', '#5 written since']);
    expect([next.answer(opened), next.answer(later)]).toEqual(['took ', 'took 1'].map((a, i) => (i ? a : 'took ')));
    expect(next.rows()).toEqual([]);
    expect([...next.disk.rows.keys()]).toEqual([expect.stringContaining('/settled')]);
  });

  test('signs again what several former ones left in the order in which they lived, whatever their clocks and numbers say', () => {
    const { log, ben } = two();
    for (const text of ['one', 'two', 'three']) {
      ben.write(text);
      settle(log, ben);
    }
    ben.write('first');
    ben.save();
    const incarnations = [ben.author.session.incarnation];
    let last = ben;
    for (const text of ['second', 'third']) {
      last = new Desk(log, log.author('Ben', incarnations.length + 1), ben.disk, [...incarnations]);
      incarnations.push(last.author.session.incarnation);
      must(last.outbox.openSession(last.written));
      last.write(text);
      last.save();
    }
    settle(log, last);
    expect(log.lines.slice(4)).toEqual(['#5 first', '#6 second', '#7 third']);
  });

  test('and what one of them left in the order in which it was written, also where its clock was set back', () => {
    const { log, ben } = two();
    for (const text of ['first', 'second', 'third']) {
      ben.write(text);
      ben.save();
      ben.clockMs -= 3_600_000;
    }
    const next = new Desk(log, log.author('Ben', 2), ben.disk, [ben.author.session.incarnation]);
    must(next.outbox.openSession(next.written));
    settle(log, next);
    expect(log.lines.slice(1)).toEqual(['#2 first', '#3 second', '#4 third']);
  });

  test('where damage took the list of former ones, all of them are signed again, by how far the log had come', () => {
    const { log, ana, ben } = two();
    ben.write('first');
    ben.save();
    let last = ben;
    for (const [at, text] of ['second', 'third'].entries()) {
      ana.write(`meanwhile ${at}`);
      settle(log, ana);
      last = new Desk(log, log.author('Ben', at + 2), ben.disk);
      last.clockMs = START_MS - (at + 1) * 3_600_000;
      must(last.outbox.openSession(last.written));
      last.write(text);
      last.save();
    }
    const known = [last.author.session.incarnation];
    const next = new Desk(log, log.author('Ben', 4), ben.disk, known);
    must(next.outbox.openSession(next.written));
    expect(next.outbox.pendingView(log.read).map(({ text }) => text)).toEqual(['first', 'second', 'third']);
    settle(log, next);
    expect(log.lines.slice(-3)).toEqual(['#4 first', '#5 second', '#6 third']);
  });

  test('sends nothing twice that was agreed on under the former one before it was closed', () => {
    const { log, ben, next } = lostAndFound();
    must(next.outbox.openSession(next.written));
    next.save();
    // The old commands were under way all along.
    log.apply(...ben.outbox.runsToSend(0, 1e9));
    settle(log, next);
    expect(log.lines).toEqual(['#1 a b C', '#2 agreed', '#3 clean copy', '#4 keyed']);
  });

  test('nor what arrived too late under the former one', () => {
    const { log, ben, next } = lostAndFound();
    must(next.outbox.openSession(next.written));
    const { outcomes } = log.apply(...next.runs(), ...ben.outbox.runsToSend(0, 1e9));
    expect(outcomes.slice(1).map(({ verdict }) => 'refused' in verdict && verdict.refused)).toEqual(
      Array(4).fill('SESSION_CLOSED'),
    );
    next.hear(outcomes);
    settle(log, next);
    expect(log.lines).toEqual(['#1 a b C', '#2 agreed', '#3 clean copy', '#4 keyed']);
  });

  test('part of them, and a refusal among them', () => {
    const log = new Log();
    const ben = new Desk(log, log.join('Ben'));
    ben.write('one', 'k');
    ben.save();
    ben.write('two', 'k');
    ben.save();
    ben.write('three');
    ben.save();
    const runs = ben.outbox.runsToSend(0, 1e9);
    const next = new Desk(log, log.author('Ben', 2), ben.disk);
    must(next.outbox.openSession(next.written));
    log.apply(...runs.slice(0, 2));
    settle(log, next);
    expect(log.lines).toEqual(['#1 one', '#2 three']);
    expect(next.outbox.refusedView().map((each) => each.code)).toEqual(['KEY_REUSED']);
    expect(log.apply(...runs).outcomes.map(({ verdict }) => verdict)).toMatchObject([{ refused: 'SESSION_CLOSED' }]);
  });

  test('what waits of the former one is shown and counted until then, in its place before what is written since', () => {
    const { log, next } = lostAndFound();
    must(next.outbox.openSession(next.written));
    next.write('since');
    next.save();
    const texts = (): (string | null)[] => next.outbox.pendingView(log.read).map(({ text }) => text);
    expect(texts()).toEqual(['draft', 'clean copy', 'a b C', 'keyed', 'since']);
    // The opening of the session counts as well.
    expect(next.outbox.pending).toBe(6);
    settle(log, next);
    expect([texts(), next.outbox.pending]).toEqual([[], 0]);
  });

  test('whoever waited for a command of the former one is told that it is on the disk', () => {
    const { next, ben } = lostAndFound();
    const saved = ben.add(write('saved'));
    ben.save();
    const lost = ben.add(write('not saved'));
    const after = new Desk(next.log, next.author, ben.disk);
    expect([after.outbox.holds(saved), after.outbox.holds(lost)]).toEqual([true, false]);
  });

  /** A disk as it was: the rows at that moment. */
  function copyOf(desk: Desk): MemoryKv {
    const kv = new MemoryKv();
    kv.write([...desk.disk.rows].map(([key, value]) => ({ type: 'put', key, value })));
    return kv;
  }

  test('a number that was given twice, by a disk that was put back: both commands are there', () => {
    const log = new Log();
    const ben = new Desk(log, log.join('Ben'));
    ben.write('first');
    ben.save();
    // The copy goes on from where it was, and is told of nothing.
    const copy = new Desk(log, ben.author, copyOf(ben));
    copy.write('by the copy');
    copy.write('by the copy, too');
    copy.save();
    const told = ben.write('after the copy');
    ben.write('and another');
    ben.edit(told, 'after the copy, edited');
    settle(log, ben);
    const next = new Desk(log, log.author('Ben', 2), copy.disk);
    must(next.outbox.openSession(next.written));
    settle(log, next);
    expect(log.lines).toEqual([
      '#1 first',
      '#2 after the copy, edited',
      '#3 and another',
      '#4 by the copy',
      '#5 by the copy, too',
    ]);
    expect(next.rows()).toEqual([]);
  });

  test('a disk that was put back with commands that were agreed on since: none is there twice', () => {
    const log = new Log();
    const ben = new Desk(log, log.join('Ben'));
    const entry = ben.write('one');
    ben.edit(entry, 'one, edited');
    ben.save();
    const earlier = copyOf(ben);
    settle(log, ben);
    ben.write('two');
    settle(log, ben);
    const next = new Desk(log, log.author('Ben', 2), earlier);
    must(next.outbox.openSession(next.written));
    settle(log, next);
    expect(log.lines).toEqual(['#1 one, edited', '#2 two']);
  });

  test('a store that was replaced keeps what it had not sent, and another incarnation of it signs that again', () => {
    const { log, ben } = lostAndFound();
    const other = new Desk(log, log.author('Ben', 2));
    must(other.outbox.openSession(other.written));
    settle(log, other);
    // It is told too late: all of it comes back refused.
    agree(log, ben);
    expect(ben.outbox.refusedView()).toEqual([]);
    expect(ben.outbox.pending).toBe(4);
    const next = new Desk(log, log.author('Ben', 3), ben.disk);
    must(next.outbox.openSession(next.written));
    settle(log, next);
    expect(log.lines).toEqual(['#1 a b C', '#2 agreed', '#3 clean copy', '#4 keyed']);
  });

  test('crashes at every step are harmless', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }), (crashes) => {
        const { log, next } = lostAndFound();
        const crash = [...crashes];
        const maybe = () => crash.pop() && next.restart();
        maybe();
        if (next.outbox.needsOpenSession(log.read)) must(next.outbox.openSession(next.written));
        next.save();
        maybe();
        next.write('since');
        next.save();
        for (let i = 0; i < 20 && (next.outbox.pending > 0 || next.outbox.needsCut); i++) {
          maybe();
          const { outcomes } = log.apply(...next.runs());
          if (crash.pop()) next.restart();
          else next.hear(outcomes);
          maybe();
          next.save();
        }
        expect(log.lines).toEqual(['#1 a b C', '#2 agreed', '#3 clean copy', '#4 keyed', '#5 since']);
        expect(next.rows()).toEqual([]);
      }),
      { seed: 20261120, numRuns: 60 },
    );
  });
});

describe('what is pending', () => {
  test('is shown as it will be', () => {
    const { log, ana, ben, entry } = two('agreed');
    const draft = ben.write('draft');
    ben.edit(draft, 'clean copy');
    ben.edit(entry, 'agreed, and edited');
    ben.add({ kind: 'rename', title: 'not about an entry' });
    ben.add({ kind: 'remove', entry });
    const shown = () => ben.outbox.pendingView(log.read).map((each) => `${each.position} ${each.what}: ${each.text}`);
    expect(shown()).toEqual([
      'null create: clean copy',
      'null edit: clean copy',
      '1 edit: agreed, and edited',
      '1 remove: null',
    ]);
    expect(ben.outbox.pendingView(log.read)[0]).toMatchObject({
      id: draft,
      author: ben.author.peer,
      name: 'Ben',
      writer: 'W',
      time: '2026-11-20T12:00:00.000+00:00',
      removed: false,
    });
    settle(log, ana, ben);
    expect(shown()).toEqual([]);
  });
});

describe('hostile or damaged rows', () => {
  test('are a FormatError and nothing else', () => {
    const { log, ben } = two();
    ben.write('x', 'k');
    ben.save();
    const [, run] = ben.disk.under('o/').find(([key]) => !key.endsWith('settled')) ?? [];
    if (!run) throw new Error('no row');
    const changes = fc.array(fc.tuple(fc.nat({ max: run.length - 1 }), fc.nat({ max: 255 })), { maxLength: 3 });
    fc.assert(
      fc.property(changes, fc.uint8Array({ maxLength: 60 }), (list, noise) => {
        const bytes = Uint8Array.from(run);
        for (const [at, to] of list) bytes[at] = to;
        for (const decode of [decodeRunRow, decodeRefused, decodeSettled]) {
          for (const input of [bytes, noise]) {
            try {
              decode(input);
            } catch (error) {
              if (!(error instanceof FormatError)) throw error;
            }
          }
        }
      }),
      { seed: 20261120, numRuns: 1000 },
    );
    expect(() =>
      new Outbox({ ...ben.author.session, random: (n) => new Uint8Array(n) }).load(
        [['o/x/1', run.slice(0, 9)]],
        log.read,
      ),
    ).toThrow(FormatError);
  });
});

test('many desks that write and edit one log all at once: nothing typed is lost, everybody agrees', () => {
  fc.assert(
    fc.property(fc.nat(), (from) => {
      const random = new Random(from);
      const log = new Log();
      const desks = [new Desk(log, log.join('Ben')), new Desk(log, log.join('Cy')), new Desk(log, log.join('Di'))];
      const entries = [0, 1].map((i) => (desks[i] as Desk).write('start'));
      settle(log, ...desks);
      const typed = new Map<EntryId, Set<string>>(entries.map((entry) => [entry, new Set()]));
      let n = 0;
      for (let round = 0; round < 25; round++) {
        const desk = random.pick(desks);
        for (let i = random.below(4); i > 0; i--) {
          const entry = random.pick(entries);
          const text = desk.outbox.current(log.read, entry)?.text ?? '';
          const words = text.split(' ');
          const word = `w${n++}`;
          words.splice(random.below(words.length + 1), 0, word);
          desk.edit(entry, words.join(' '));
          typed.get(entry)?.add(word);
        }
        desk.save();
        if (random.chance(0.2)) desk.restart();
        if (random.chance(0.6)) {
          const some = desks.filter(() => random.chance(0.6));
          const { outcomes } = log.apply(...some.flatMap((each) => each.runs()));
          for (const each of desks) each.hear(outcomes).save();
        }
      }
      settle(log, ...desks);
      for (const entry of entries) {
        const words = (textOf(log, entry) ?? '').split(/\s+/);
        for (const word of typed.get(entry) ?? []) expect(words).toContain(word);
      }
      for (const desk of desks) expect([desk.rows(), desk.forked]).toEqual([[], false]);
    }),
    { seed: 20261120, numRuns: 25 },
  );
});

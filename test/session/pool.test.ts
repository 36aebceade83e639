import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import { RESERVED, type Run, redactRun, sessionKeyOf, signRun } from '../../shared/document/index.ts';
import { Pool } from '../../shared/session/index.ts';
import { type Author, Log, write } from '../document/fixture.ts';

/** A pool over a log that has judged as far as `judged` says. */
function poolOf(bytesMax?: number) {
  const log = new Log();
  const judged = new Map<string, number>();
  const pool = new Pool((session) => judged.get(sessionKeyOf(session)) ?? 0, bytesMax);
  const authors = ['Ana', 'Ben', 'Cy'].map((name) => log.author(name, 1)) as [Author, Author, Author];
  const judge = (run: Run) => judged.set(sessionKeyOf(run), run.lastSeq);
  return { pool, authors, judge };
}
const sized = (author: Author, bytes: number) => author.run(write('x'.repeat(bytes)));

describe('what is offered', () => {
  test('is kept once, in order, without gaps', () => {
    const { pool, authors, judge } = poolOf();
    const [a, b, c] = [1, 2, 3].map(() => sized(authors[0], 10)) as [Run, Run, Run];
    expect([b, a, a, c, b].map((run) => pool.offer(run))).toEqual(['gap', 'kept', 'duplicate', 'gap', 'kept']);
    expect(pool.nextSeq(c)).toBe(3);
    expect(pool.offer(c)).toBe('kept');
    expect(pool.take()).toEqual([a, b, c]);
    expect([a, b, c].map((run) => pool.offer(run))).toEqual(['duplicate', 'duplicate', 'duplicate']);
    pool.reset();
    judge(b);
    expect([a, b, c].map((run) => pool.offer(run))).toEqual(['duplicate', 'duplicate', 'kept']);
  });

  test('may overlap with what is here, and must follow on it', () => {
    const { pool, authors } = poolOf();
    const whole = authors[0].run(write('a'), write('b'), write('c'));
    const start = signRun(whole, whole.commands.slice(0, 2), authors[0].signer);
    const fork = authors[0].session;
    const other = new Log().author('Ana', 1);
    other.run(write('x'), write('y'));
    const forked = signRun(fork, other.run(write('z')).commands, authors[0].signer);
    expect(pool.offer(start)).toBe('kept');
    expect(pool.offer(forked)).toBe('fork');
    expect(pool.offer(whole)).toBe('kept');
    expect(pool.take()).toEqual([start, whole]);
  });

  test('is not proposed where old peers would pause at it', () => {
    const { pool, authors } = poolOf();
    const [ana, ben] = authors;
    expect(pool.offer(ana.with({ kind: RESERVED.label }, write('x')))).toBe('unsupported');
    expect(pool.offer(redactRun(ben.run(write('x')), new Set([1])))).toBe('unsupported');
    expect(pool.isEmpty).toBe(true);
  });

  test('is bounded in bytes, and one flood leaves room for the others', () => {
    const { pool, authors } = poolOf(100_000);
    const [flood, ben, cy] = authors;
    const answers = Array.from({ length: 20 }, () => sized(flood, 10_000)).map((run) => pool.offer(run));
    expect(answers.indexOf('full')).toBeGreaterThan(3);
    expect(answers.slice(answers.indexOf('full')).every((each) => each !== 'kept')).toBe(true);
    expect([sized(ben, 10_000), sized(cy, 10_000)].map((run) => pool.offer(run))).toEqual(['kept', 'kept']);
    expect(pool.bytes).toBeLessThan(100_000);
    while (!pool.isEmpty) pool.take();
    expect(pool.bytes).toBe(0);
  });
});

describe('what is taken', () => {
  test('goes round between authors, and fits', () => {
    const { pool, authors } = poolOf();
    const [ana, ben, cy] = authors;
    const runs = [1, 2, 3].map(() => sized(ana, 100_000));
    for (const run of runs) pool.offer(run);
    const [b, c] = [sized(ben, 100), sized(cy, 100)];
    pool.offer(b);
    pool.offer(c);
    expect(pool.take()).toEqual([runs[0], b, c, runs[1]]);
    expect(pool.take()).toEqual([runs[2]]);
    expect(pool.take()).toEqual([]);
  });

  test('a larger run comes alone, and is not passed over for ever by small ones', () => {
    const { pool, authors } = poolOf();
    const [ana, ben] = authors;
    const large = sized(ana, 500_000);
    const small = [1, 2, 3].map(() => sized(ben, 200_000));
    pool.offer(small[0] as Run);
    pool.offer(large);
    for (const run of small.slice(1)) pool.offer(run);
    expect([pool.take(), pool.take(), pool.take(), pool.take()]).toEqual([[small[0]], [large], [small[1]], [small[2]]]);
  });

  test('is not what was judged meanwhile', () => {
    const { pool, authors, judge } = poolOf();
    const [a, b] = [sized(authors[0], 10), sized(authors[0], 10)] as [Run, Run];
    pool.offer(a);
    pool.offer(b);
    judge(a);
    expect(pool.take()).toEqual([b]);
    judge(b);
    expect([pool.take(), pool.bytes]).toEqual([[], 0]);
  });
});

test('whatever is offered, each session comes out whole and in order, and the bytes add up', () => {
  fc.assert(
    fc.property(fc.nat(), (from) => {
      const random = new Random(from);
      const { pool, authors, judge } = poolOf(20_000);
      const runs = authors.map((author) => Array.from({ length: 20 }, () => sized(author, 1 + random.below(1500))));
      const out = new Map<Author, number>();
      for (let i = 0; i < 800; i++) {
        pool.offer(random.pick(random.pick(runs)));
        expect(pool.bytes).toBeLessThanOrEqual(20_000);
        if (!random.chance(0.1)) continue;
        const lost = random.chance(0.1);
        for (const run of pool.take(4000)) {
          if (lost) continue;
          const author = authors.find((each) => each.peer === run.peer) as Author;
          expect(run.firstSeq).toBe((out.get(author) ?? 0) + 1);
          out.set(author, run.lastSeq);
          judge(run);
        }
        if (lost) pool.reset();
      }
      while (!pool.isEmpty) pool.take();
      expect(pool.bytes).toBe(0);
    }),
    { seed: 20261120, numRuns: 40 },
  );
});

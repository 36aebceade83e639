import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { CDPSession, Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { enter, never, type Peer, until, untilStatus, worldForAll } from '../integration/harness.ts';
import { transcript } from '../integration/transcript.ts';
import { stageForAll } from './stage.ts';
import { agreed, entry, field, goTo, standing, tail, write } from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();

const MIB = 1024 * 1024;
const round = (ms: number): string => `${Math.round(ms)} ms`;

let serial = 0;

/** Writes lines with `synod import`, and tells how long that took. A number beside each makes them lines that differ. */
async function importLines(peer: Peer, lines: readonly { writer: string; text: string }[]): Promise<number> {
  const begun = performance.now();
  const input = lines.map((line) => `${JSON.stringify({ ...line, serial: serial++ })}\n`).join('');
  const { code, lines: answers, err } = await peer.launch(['import', '--writer-field', 'writer', '-'], input).ended;
  expect({ code, last: answers.at(-1) }, err).toMatchObject({ code: 0, last: { imported: lines.length, failed: 0 } });
  return performance.now() - begun;
}

const rows = (page: Page): Promise<number> => page.locator('[data-entries] .row').count();

interface Opening {
  readonly page: Page;
  /** When there was anything to see, and when the last entries or what stands for them were. Milliseconds. */
  readonly firstPaint: number;
  readonly shown: number;
}

/** Opens a page a few times and takes the quickest: what else the machine does only ever makes it slower. */
async function openQuickest(peer: Peer, isShown: string): Promise<Opening> {
  const openings: Opening[] = [];
  for (let time = 0; time < 3; time++) {
    const page = await stage.open(peer);
    await page.locator(isShown).first().waitFor();
    const shown = await page.evaluate(() => performance.now());
    const firstPaint = await until('the first paint is told', () =>
      page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime),
    );
    openings.push({ page, firstPaint, shown });
  }
  return openings.toSorted((a, b) => a.shown - b.shown)[0] as Opening;
}

describe('a log of 100 000 entries', () => {
  const COUNT = 100_000;
  let large: Peer;
  let empty: Peer;

  beforeAll(async () => {
    [large, empty] = await Promise.all([world.start('Large'), world.start('Empty')]);
    await Promise.all([large.does('create', 'Large'), empty.does('create', 'Empty')]);
    const lines = Array.from({ length: COUNT }, (_, at) => ({
      writer: ['CC', 'CDR', 'CMP', 'LMP'][at % 4] as string,
      // Every seventh fills several lines, so that heights have to be found out.
      text: `entry ${at + 1}${at % 7 === 0 ? ', which says more than one line can hold'.repeat(5) : ''}`,
    }));
    console.log(`100 000 entries were imported in ${((await importLines(large, lines)) / 1_000).toFixed(1)} s`);
  }, 240_000);

  test('opens about as quickly as an empty one', async () => {
    const small = await openQuickest(empty, 'text=Nothing is written yet');
    const big = await openQuickest(large, `[data-position="${COUNT}"]`);
    console.log(
      `first paint ${round(big.firstPaint)} and the last entries after ${round(big.shown)} (goal: 1 000 ms); an empty log ${round(small.firstPaint)} and ${round(small.shown)}`,
    );
    expect(big.shown).toBeLessThan(small.shown * 5);
    expect(await rows(big.page)).toBeLessThan(200);
  });

  test('any place is reached, with few rows in the page at any time', async () => {
    const page = await stage.open(large);
    await entry(page, COUNT).waitFor();
    // Every change of the rows is counted, whatever makes it.
    await page.evaluate(() => {
      const seen = { most: 0 };
      Object.assign(window, { seen });
      new MutationObserver(() => {
        seen.most = Math.max(seen.most, document.querySelectorAll('[data-entries] .row').length);
      }).observe(document.querySelector('[data-entries]') as Element, { childList: true });
    });
    for (const position of [50_000, 1, 99_999, 12_345]) {
      await goTo(page, position);
      await until(`#${position} is in view`, () => isInView(page, position));
      expect(await entry(page, position).innerText()).toContain(`entry ${position}`);
    }
    await page.keyboard.press('Home');
    await until('the first is in view', () => isInView(page, 1));
    expect(await focusedAt(page)).toBe(1);
    await page.keyboard.press('End');
    await until('the last is in view', () => isInView(page, COUNT));
    await until('the last has the keyboard', async () => (await focusedAt(page)) === COUNT);
    await page.keyboard.press('k');
    await until('the one before', async () => (await focusedAt(page)) === COUNT - 1);
    // All the way by the wheel and by the bar, in leaps and in small steps.
    const scroller = page.locator('.scroller');
    for (let part = 20; part >= 0; part--) {
      await scroller.evaluate((node, share) => {
        node.scrollTop = ((node.scrollHeight - node.clientHeight) * share) / 20;
      }, part);
      await until('entries are there', async () => (await agreed(page).count()) > 3 && (await rows(page)) < 200);
    }
    await page.mouse.move(600, 400);
    for (let turn = 0; turn < 30; turn++) await page.mouse.wheel(0, 900);
    await until('entries are there', async () => (await page.locator('[data-entries] .blank').count()) === 0);
    const most = await page.evaluate(() => (window as unknown as { seen: { most: number } }).seen.most);
    console.log(`at most ${most} rows were in the page`);
    expect(most).toBeGreaterThan(10);
    expect(most).toBeLessThan(200);
    await page.getByRole('button', { name: 'To the end' }).click();
    await until('the last has the keyboard', async () => (await focusedAt(page)) === COUNT);
    await write(page, 'one more');
    await entry(page, COUNT + 1)
      .getByText('one more')
      .waitFor();
    await until('it is in view', () => isInView(page, COUNT + 1));
  });
});

const focusedAt = (page: Page): Promise<number> =>
  page.evaluate(() => Number(document.activeElement?.getAttribute('data-position')));

const isInView = (page: Page, position: number): Promise<boolean> =>
  page.evaluate((at) => {
    const box = document.querySelector(`[data-entries] [data-position="${at}"]`)?.getBoundingClientRect();
    const view = document.querySelector('.scroller')?.getBoundingClientRect();
    return box !== undefined && view !== undefined && box.top >= view.top - 1 && box.top < view.bottom;
  }, position);

/** What a process holds in memory, where the system tells. Bytes. */
function memoryOf(pid: number): number | null {
  try {
    if (process.platform === 'linux') {
      return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
    }
    return Number(execFileSync('ps', ['-o', 'rss=', '-p', `${pid}`], { encoding: 'utf8' })) * 1024 || null;
  } catch {
    return null;
  }
}

/** What the page keeps once everything that nobody needs is gone. */
async function kept(session: CDPSession): Promise<{ bytes: number; nodes: number }> {
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  const { nodes } = await session.send('Memory.getDOMCounters');
  return { bytes: usedSize, nodes };
}

/** Stops all that a page does; it takes nothing from its peer any more. The answer lets it go on. */
async function freeze(page: Page): Promise<() => Promise<void>> {
  const session = await page.context().newCDPSession(page);
  await session.send('Debugger.enable');
  const paused = new Promise((resolve) => session.once('Debugger.paused', resolve));
  await session.send('Debugger.pause');
  // It stops at the next thing that it does; this answers only once it goes on.
  const nudge = session.send('Runtime.evaluate', { expression: '0' });
  await paused;
  return async () => {
    await session.send('Debugger.resume');
    await nudge;
    await session.send('Debugger.disable');
  };
}

/** A peer with so little memory that one which kept something for each entry or each message would not get far: Node ends it. */
const SMALL = ['--max-old-space-size=96'];

test('10 000 entries come in while a page looks on and another one stands still', async () => {
  const peer = await world.start('Stream', SMALL);
  await peer.does('create', 'Stream');
  const { name, utterances } = transcript();
  const all = utterances.map(({ speaker, text }) => ({ writer: speaker, text }));
  const pid = peer.pid ?? 0;
  await importLines(peer, all.slice(0, 500));
  const page = await stage.open(peer);
  await entry(page, 500).waitFor();
  await page.evaluate(() => {
    const seen = { longest: 0, most: 0 };
    Object.assign(window, { seen });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) seen.longest = Math.max(seen.longest, duration);
    }).observe({ type: 'longtask' });
    new MutationObserver(() => {
      seen.most = Math.max(seen.most, document.querySelectorAll('[data-entries] .row').length);
    }).observe(document.querySelector('[data-entries]') as Element, { childList: true });
  });
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.enable');
  const before = await kept(session);
  const memoryBefore = memoryOf(pid);

  // The first half with one page only: what the peer itself needs for so many entries.
  const half = all.slice(500, 5_500);
  const rest = all.slice(5_500, 10_500);
  await importLines(peer, half);
  await entry(page, 5_500).waitFor();
  const memoryHalf = memoryOf(pid);

  const still = await stage.open(peer);
  await entry(still, 5_500).waitFor();
  const goOn = await freeze(still);
  const took = await importLines(peer, rest);
  await entry(page, 10_500).waitFor();
  const memoryAfter = memoryOf(pid);
  const after = await kept(session);
  const { longest, most } = await page.evaluate(
    () => (window as unknown as { seen: { longest: number; most: number } }).seen,
  );
  console.log(
    [
      `${name}: 5 000 entries in ${round(took)}; the longest task of the page ${round(longest)}, at most ${most} rows`,
      `the page keeps ${(before.bytes / MIB).toFixed(1)} MiB before and ${(after.bytes / MIB).toFixed(1)} MiB after, ${before.nodes} and ${after.nodes} nodes`,
      memoryBefore === null
        ? 'what the peer holds is not told here'
        : `the peer holds ${[memoryBefore, memoryHalf, memoryAfter].map((bytes) => `${Math.round((bytes ?? 0) / MIB)} MiB`).join(', then ')}`,
    ].join('\n'),
  );
  expect(after.bytes - before.bytes).toBeLessThan(16 * MIB);
  expect(after.nodes).toBeLessThan(before.nodes + 5_000);
  expect(most).toBeLessThan(200);
  if (memoryHalf !== null && memoryAfter !== null) expect(memoryAfter - memoryHalf).toBeLessThan(150 * MIB);

  await goOn();
  await entry(still, 10_500).waitFor();
  await until('it has caught up', async () => (await standing(still).innerText()).includes('all agreed'));
  await field(still).waitFor();
  await write(still, 'back again');
  await entry(page, 10_501).getByText('back again').waitFor();
});

/** Entries that wait for their group, which a window is told of with their texts: together a mebibyte at each change. */
const WAITING_TEXT = 'w'.repeat(17_000);
const NOT_TAKEN_BYTES = 150 * MIB;

test('what a page that stands still does not take is not kept for it', async () => {
  const [peer, voter] = [await world.start('Patient', SMALL), await world.start('Away')];
  await peer.does('create', 'Waiting');
  await enter(voter, peer, '--role', 'voter');
  await untilStatus(peer, 'two vote', ({ canCommit, quorum }) => canCommit && quorum.voters === 2);
  await voter.stop();
  const page = await stage.open(peer);
  await standing(page).getByText('waiting for 1 more').waitFor();

  const service = await peer.service();
  const watching = new AbortController();
  // A peer that has run out of memory may leave its clients without a word.
  const signal = AbortSignal.any([watching.signal, AbortSignal.timeout(90_000)]);
  const news = service.watch({}, signal)[Symbol.asyncIterator]();
  let written = 0;
  /** One more entry, and on only once it was told: each is a change of its own, and so is what a window is told. */
  const tell = async (changes: number): Promise<void> => {
    for (let change = 0; change < changes; change++) {
      written += 1;
      const text = `${written} ${WAITING_TEXT}`;
      // Not awaited first: its answer comes behind news, which have to be taken.
      const saved = service.append({ text, wait: 'saved', timeoutMs: 60_000 }, never);
      saved.catch(() => {});
      for (;;) {
        const { value, done } = await news.next();
        if (done) throw new Error(`the peer told nothing more after entry ${written}`);
        if (value?.kind === 'pending' && value.lines.at(-1)?.text === text) break;
      }
      await saved;
    }
  };
  const pid = peer.pid ?? 0;
  await tell(80);
  const before = memoryOf(pid);
  await tell(40);
  const taken = memoryOf(pid);
  const goOn = await freeze(page);
  const held: (number | null)[] = [];
  for (let part = 0; part < 3; part++) {
    await tell(50);
    held.push(memoryOf(pid));
  }
  const shown = [before, taken, ...held].map((bytes) => (bytes === null ? '?' : `${Math.round(bytes / MIB)} MiB`));
  console.log(
    `the peer holds ${shown.join(', ')}; the page stood still from the third, and 150 changes of a mebibyte each came meanwhile`,
  );
  const last = held.at(-1) ?? null;
  if (taken !== null && last !== null) expect(last - taken).toBeLessThan(NOT_TAKEN_BYTES / 3);

  await goOn();
  await tail(page).getByText(`${written} www`).waitFor();
  watching.abort();
});

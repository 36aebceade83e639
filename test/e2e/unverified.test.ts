/// <reference lib="dom" />
// A newcomer's window while the rest of the log is on its way: what has come can be read, is called what it is, and loses nothing of what a person does with it.
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { rot, VALUE, WORDING } from '../integration/faults/rot.ts';
import { enter, never, type Peer, until, untilAgreed, worldForEach } from '../integration/harness.ts';
import { complaints } from './complaints.ts';
import { stageForAll } from './stage.ts';
import { agreed, entry, field, goTo, spoken, standing, tail } from './views.ts';

const world = worldForEach({ hasPages: true });
const stage = stageForAll();

/** Long and old, so that they take their time; and short ones at the end, as people see them first. */
const LONG = 440;
const SHORT = 60;
const ENTRIES = LONG + SHORT;
/** So few that each slot holds two at most: a snapshot is taken by the number of slots. */
const IN_FLIGHT = 2;
/** The source answers for so long, and then stands still until somebody has looked. Milliseconds. */
const SLICE_MS = 10;

async function fill(peer: Peer): Promise<void> {
  const service = await peer.service();
  const long = Array.from({ length: LONG }, (_, at) => ({
    text: `${at + 1} ${'The pumps were checked. '.repeat(700)}`,
  }));
  const left = [...long, ...spoken(0, SHORT)].values();
  const one = async (): Promise<void> => {
    for (const each of left) await service.append({ ...each, wait: 'committed', timeoutMs: 60_000 }, never);
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, one));
}

/** Lets the source go on in slices until the guest shows some of what it gives, and leaves it standing still. */
async function holdMidway(source: Peer, guest: Peer): Promise<void> {
  await until('a part of the log is there to be read', async () => {
    source.resume();
    await sleep(SLICE_MS);
    source.pause();
    const { preview } = await guest.status();
    return preview !== undefined && preview.here >= SHORT;
  });
}

const unverified = (page: Page) => page.locator('[data-entries] article.unverified');

test('what is not verified yet is named, can be read and not changed, and becomes agreed at its place', async () => {
  const ana = await world().start('Ana');
  await ana.does('create', 'Pumps');
  await fill(ana);
  const ben = await world().start('Ben');
  await enter(ben, ana);
  await holdMidway(ana, ben);

  const page = await stage.open(ben);
  await entry(page, ENTRIES).waitFor();
  await until('the newest is called unverified', async () =>
    (await entry(page, ENTRIES).getAttribute('aria-label'))?.endsWith(', not verified yet'),
  );
  expect(await unverified(page).count()).toBeGreaterThan(3);
  // One figure, of entries, wherever one is shown; and what the grey rows are stands below them.
  const figure = await until('the page says what the peer says', async () => {
    const { preview } = await ben.status();
    expect(preview?.here, 'the source was held before all was there').toBeLessThan(ENTRIES);
    const words = `${preview?.here} of ${preview?.positions} entries`;
    return (await standing(page).innerText()).startsWith(`fetching the log, ${words}`) && words;
  });
  await page.getByText('Entries in grey can be read and are not verified yet').waitFor();
  for (const text of await page.getByText(/[0-9] of [0-9]/).allInnerTexts()) expect(text).toContain(figure);
  await standing(page).click();
  await page.getByRole('dialog').getByText(`This machine has ${figure}, the newest first`).waitFor();
  await page.keyboard.press('Escape');
  expect(await complaints(page)).toEqual([]);
  // What has not come has its place, and the gap is named.
  await page.mouse.move(600, 400);
  await until('the gap is named', async () => {
    await page.mouse.wheel(0, -300);
    return page.getByText('still to come').last().isVisible();
  });
  await page.getByRole('button', { name: 'To the end' }).click();
  await until('the newest has the keyboard', () =>
    entry(page, ENTRIES).evaluate((row) => row === document.activeElement),
  );

  // Neither by the keyboard, nor by a button, nor past the window.
  const before = await entry(page, ENTRIES).locator('.said').innerText();
  await entry(page, ENTRIES).focus();
  for (const key of ['e', 'Delete']) {
    await page.keyboard.press(key);
    await page.getByText(`#${ENTRIES} is not verified yet. It can be changed once`).waitFor();
    expect(await page.getByRole('textbox', { name: 'New text of the entry' }).count()).toBe(0);
    expect(await page.getByRole('dialog').count()).toBe(0);
  }
  const tools = entry(page, ENTRIES).getByRole('group', { name: 'Actions' }).getByRole('button');
  expect(await tools.allInnerTexts()).toEqual(['Copy']);
  const refused = await ben.synod('edit', `${ENTRIES}`, 'another wording');
  expect(refused).toMatchObject({ code: 1, error: 'ENTRY_NOT_FOUND' });
  expect(refused.err).toContain('not verified yet');

  // What is written meanwhile is saved, and stands below.
  await field(page).fill('from the newcomer');
  await page.keyboard.press('Control+Enter');
  await tail(page).getByText('from the newcomer').waitFor();
  await field(page).fill('half a sentence');

  // From here on the row that is looked at stays there, with the words that it had.
  await page.evaluate((position) => {
    const seen: string[] = [];
    const look = (): void => {
      const row = document.querySelector(`[data-entries] [data-position="${position}"]`);
      const said = row?.querySelector('.said')?.textContent ?? 'gone';
      const status = row?.classList.contains('unverified') ? 'unverified' : 'agreed';
      if (seen.at(-1) !== `${status} ${said.trim()}`) seen.push(`${status} ${said.trim()}`);
    };
    Object.assign(window, { seen });
    look();
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true, attributes: true });
  }, ENTRIES);
  ana.resume();
  await entry(page, ENTRIES + 1)
    .getByText('from the newcomer')
    .waitFor();
  await tail(page).waitFor({ state: 'detached' });
  await untilAgreed(ana, ben);
  await until('nothing is grey any more', async () => (await unverified(page).count()) === 0);
  await page.getByText('Entries in grey').waitFor({ state: 'detached' });
  await standing(page).getByText('all agreed').waitFor();
  const seen = await page.evaluate(() => (window as unknown as { seen: string[] }).seen);
  expect(seen.map((each) => each.split(' ')[0])).toEqual(['unverified', 'agreed']);
  for (const each of seen) expect(each).toContain(before.split('\n')[0]);
  expect(await field(page).inputValue()).toBe('half a sentence');

  await goTo(page, ENTRIES);
  expect(await entry(page, ENTRIES).getAttribute('aria-label')).not.toContain('not verified');
  await page.keyboard.press('e');
  await page.getByRole('textbox', { name: 'New text of the entry' }).fill('changed after it was verified');
  await page.keyboard.press('Control+Enter');
  await entry(page, ENTRIES).getByText('changed after it was verified').waitFor();
  expect(await agreed(page).count()).toBeGreaterThan(3);
});

test('a machine whose copy is made anew says why its log is empty and who has to return, and shows it again when one is back', async () => {
  const [ana, ben] = await world().group('Ana', 'Ben');
  const service = await ana.service();
  for (let n = 1; n <= 40; n++) {
    const text = `${n} ${randomBytes(1500).toString('base64')}`;
    await service.append({ text, wait: 'committed', timeoutMs: 60_000 }, never);
  }
  const { group } = await untilAgreed(ana, ben);
  // What was in the write-ahead file goes into a table as the database is opened.
  await ben.stop();
  await ben.start();
  await untilAgreed(ana, ben);
  await Promise.all([ana.stop(), ben.stop()]);
  for (const key of [VALUE, WORDING]) expect(rot(ben, group, key)).toBeGreaterThan(0);
  await ben.start();
  const page = await stage.open(ben);
  const { why } = await ben.status();
  expect(why).toMatch(/disk was damaged.* Ana has to return\. Nothing is lost in the group as long as it does\.$/);
  await page.locator('.empty').getByText(`${why}`).waitFor();
  await standing(page).click();
  await page.getByRole('dialog').getByText(`${why}`, { exact: true }).waitFor();
  await page.keyboard.press('Escape');
  expect(await complaints(page)).toEqual([]);
  await field(page).fill('written meanwhile');
  await page.keyboard.press('Control+Enter');
  await tail(page).getByText('written meanwhile').waitFor();
  await ana.start();
  await entry(page, 41).getByText('written meanwhile').waitFor();
  await standing(page).getByText('all agreed').waitFor();
  expect(await complaints(page)).toEqual([]);
  ben.troubles.length = 0;
});

import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { TEXT_BYTES_MAX } from '../../shared/ipc/contract.ts';
import { enter, never, type Peer, until, worldForEach } from '../integration/harness.ts';
import { complaints } from './complaints.ts';
import { stageForAll } from './stage.ts';

const world = worldForEach({ hasPages: true });
const stage = stageForAll();

const field = (page: Page) => page.getByRole('textbox', { name: 'Write an entry' });
const standing = (page: Page) => page.locator('header .standing').getByRole('button');
const row = (page: Page, position: number) => page.locator(`[data-position="${position}"]`);
const tail = (page: Page) => page.locator('section[aria-labelledby="tail-heading"]');

const newText = (page: Page) => page.getByRole('textbox', { name: 'New text of the entry' });
const notSent = (page: Page) => page.getByRole('region', { name: 'Written here and not sent' });

async function edit(page: Page, position: number, text: string): Promise<void> {
  await row(page, position).focus();
  await page.keyboard.press('e');
  await newText(page).fill(text);
}

/** Whether this is the newest draft of a new entry, or of the entry at a position; empty: there is none. */
async function isKept(peer: Peer, text: string, position?: number): Promise<boolean> {
  const about = position === undefined ? 'new' : ((await peer.log())[position - 1]?.id ?? '');
  return (await (await peer.service()).draft({ about }, never)).text === text;
}

/** From now on notes at each change of the page how often a text stands among the agreed entries, and how often below them. */
const watchFor = (text: string): string => `
  var seen = [];
  new MutationObserver(() => {
    const shown = (of) => [...document.querySelectorAll(of)].filter((each) => each.textContent.includes('${text}')).length;
    seen.push(shown('[data-entries] article') + ' ' + shown('section article'));
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
`;

const groupDir = async (peer: Peer): Promise<string> => {
  const groups = join(peer.dir, 'groups');
  return join(groups, (await readdir(groups))[0] ?? '');
};

describe('what a person sees', () => {
  test('of what waits: each thing by its name, until it is agreed, and then who did it', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    for (const text of ['one', 'two', 'three']) await ana.does('append', text);
    await ana.does('remove', '3');
    const page = await stage.open(ana);
    await row(page, 3).getByText('removed').waitFor();
    await ben.stop();
    await standing(page).getByText('waiting for 1 more').waitFor();
    await field(page).fill('while alone');
    await page.keyboard.press('Control+Enter');
    await ana.does('edit', '--wait', 'saved', '1', 'one, better');
    await ana.does('remove', '--wait', 'saved', '2');
    await ana.does('restore', '--wait', 'saved', '3');
    for (const words of ['while alone', 'edit of #1', 'removal of #2', 'restoring #3']) {
      await tail(page).getByText(words).waitFor();
    }
    expect(await tail(page).getByText('saved here').count()).toBe(4);
    expect(await complaints(page)).toEqual([]);

    // From here on nothing may be missing for a moment, and nothing be there twice.
    await page.evaluate(watchFor('while alone'));
    await ben.start();
    await row(page, 4).getByText('while alone').waitFor();
    await tail(page).waitFor({ state: 'detached' });
    const seen = await page.evaluate<string[]>('seen');
    expect(new Set(seen)).toEqual(new Set(['0 1', '1 0']));
    await row(page, 1).getByText('edited by Ana, ').waitFor();
    await row(page, 2).getByText('by Ana, ').waitFor();
    await row(page, 3).getByText('restored by Ana, ').waitFor();
    expect(await row(page, 2).getAttribute('aria-label')).toMatch(/^Entry 2, Ana, .*, removed by Ana, /);
  });

  test('of an edit that came too late: why, and its wording to post, copy or dismiss', async () => {
    const [ana, ben, cy] = await world().group('Ana', 'Ben', 'Cy');
    await ana.does('append', 'Bed 9');
    await until('Ben has it', async () => (await ben.log()).length === 1);
    await Promise.all([ana.stop(), cy.stop()]);
    await ben.does('edit', '--wait', 'saved', '1', 'Bed 9: better');
    await ben.stop();
    await Promise.all([ana.start(), cy.start()]);
    await ana.does('remove', '1');
    await ben.start();
    const page = await stage.open(ben);
    const refused = page.getByRole('region', { name: 'Not taken by the group' });
    await refused.getByText('The entry was removed by Ana before this edit arrived.').waitFor();
    await refused.getByText('edit of #1').waitFor();
    for (const name of ['Copy', 'Dismiss']) expect(await refused.getByRole('button', { name }).count()).toBe(1);
    expect(await complaints(page)).toEqual([]);
    await refused.getByRole('button', { name: 'Post as new' }).click();
    await row(page, 2).getByText('Bed 9: better').waitFor();
    await refused.waitFor({ state: 'detached' });
  });

  test('of an entry that is removed while it is edited: who did it, the ways out, and that what was worded is kept', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    await ana.does('append', 'Bed 9');
    const page = await stage.open(ben);
    await edit(page, 1, 'Bed 9: better');
    const save = page.getByRole('button', { name: 'Save' });
    await ana.does('remove', '1');
    await page.getByText(/^#1 was removed by Ana, .*, while you were editing it\.$/).waitFor();
    expect(await save.count()).toBe(0);
    await page.keyboard.press('Control+Enter');
    expect(await newText(page).inputValue()).toBe('Bed 9: better');
    expect(await complaints(page)).toEqual([]);
    await ana.does('restore', '1');
    await save.waitFor();
    expect(await page.getByText(/^#1 was removed/).count()).toBe(0);
    await ana.does('remove', '1');
    await page.getByText(/^#1 was removed by Ana/).waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await field(page).waitFor();
    await notSent(page).getByText('The entry was removed by Ana before this edit arrived.').waitFor();
    await page.reload();
    await notSent(page).getByText('Bed 9: better').waitFor();
    expect(await complaints(page)).toEqual([]);
    await notSent(page).getByRole('button', { name: 'Post as new' }).click();
    await row(page, 2).getByText('Bed 9: better').waitFor();
    await notSent(page).waitFor({ state: 'detached' });

    await edit(page, 2, 'Bed 9: best');
    await ana.does('remove', '2');
    await page.getByText(/^#2 was removed by Ana/).waitFor();
    await page.getByRole('button', { name: 'Post as new' }).click();
    await row(page, 3).getByText('Bed 9: best').waitFor();
    await field(page).waitFor();
    // Loaded while it is edited, and with nothing to be seen of it in the field.
    await edit(page, 3, 'Bed 9: best of all');
    await until('it is kept', () => isKept(ben, 'Bed 9: best of all', 3));
    await page.reload();
    await notSent(page).getByText('edit of #3').waitFor();
    await row(page, 3).focus();
    await page.keyboard.press('e');
    await page.keyboard.press('Escape');
    await field(page).waitFor();
    await notSent(page).getByText('Bed 9: best of all').waitFor();
    await notSent(page).getByRole('button', { name: 'Go on writing' }).click();
    await until('it is back', async () => (await newText(page).inputValue()) === 'Bed 9: best of all');
    expect(await notSent(page).count()).toBe(0);
    await page.keyboard.press('Control+Enter');
    await row(page, 3).getByText('Bed 9: best of all').waitFor();
    await page.reload();
    await row(page, 3).getByText('Bed 9: best of all').waitFor();
    expect(await notSent(page).count()).toBe(0);
  });

  test('of an entry whose removal is learned only by the refusal: the same', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    await ana.does('append', 'Bed 9');
    const page = await stage.open(ben);
    let isDeaf = false;
    // What a window that stands still for a moment has yet to hear.
    await page.routeWebSocket(/./, (socket) => {
      const peer = socket.connectToServer();
      peer.onMessage((text) => {
        if (!isDeaf || !/"kind":"(log|pending)"/.test(`${text}`)) socket.send(text);
      });
    });
    await page.reload();
    await edit(page, 1, 'Bed 9: better');
    isDeaf = true;
    await ana.does('remove', '1');
    await until('Ben has it', async () => (await ben.log())[0]?.removed);
    expect(await page.getByText(/^#1 was removed/).count()).toBe(0);
    await page.keyboard.press('Control+Enter');
    await page.getByText(/^#1 was removed by Ana, .*, while you were editing it\.$/).waitFor();
    expect(await page.getByRole('button', { name: 'Save' }).count()).toBe(0);
    expect(await newText(page).inputValue()).toBe('Bed 9: better');
    await page.getByRole('button', { name: 'Discard' }).click();
    await until('nothing is kept', () => isKept(ben, '', 1));
    isDeaf = false;
    await page.reload();
    await row(page, 1).getByText('removed').waitFor();
    expect(await notSent(page).count()).toBe(0);
  });

  test('of an edit that is too long: that it was not taken, and that it can not be put aside either', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    await ana.does('append', 'one');
    const page = await stage.open(ana);
    await edit(page, 1, 'x'.repeat(TEXT_BYTES_MAX + 1));
    await page.keyboard.press('Control+Enter');
    await page.getByText('The text is over 1 MiB. Nothing was written; split it.').waitFor();
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByText(/^A draft this long is not kept\. .* Your wording stays in the field\.$/).waitFor();
    await newText(page).fill('one, better');
    await page.keyboard.press('Control+Enter');
    await row(page, 1).getByText('one, better').waitFor();
    // Nothing to keep: no promise either.
    await edit(page, 1, ' ');
    await page.keyboard.press('Escape');
    await until('nothing is kept', () => isKept(ana, '', 1));
    expect(await notSent(page).count()).toBe(0);
  });

  test('of what is written in two windows of one machine: each keeps its own, and nothing of what was sent', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    const first = await stage.open(ana);
    const second = await first.context().newPage();
    await second.goto(ana.web ?? '');
    await field(second).fill('tab two');
    await until('it is kept', () => isKept(ana, 'tab two'));
    await field(first).fill('tab one writes');
    await until('both are kept', () => isKept(ana, 'tab one writes'));
    await first.keyboard.press('Control+Enter');
    await row(first, 1).getByText('tab one writes').waitFor();
    await until('it is sent', () => isKept(ana, 'tab two'));
    await second.reload();
    await until('its own is back', async () => (await field(second).inputValue()) === 'tab two');
    await field(first).fill('tab one again');
    await until('both are kept', () => isKept(ana, 'tab one again'));
    await Promise.all([first.reload(), second.reload()]);
    await until('each has its own', async () => {
      const both = await Promise.all([first, second].map((page) => field(page).inputValue()));
      return `${both}` === 'tab one again,tab two';
    });
    // What a closed window leaves is told where there is no room for it, and taken up where there is.
    await second.close();
    await notSent(first).getByText('tab two').waitFor();
    expect(await complaints(first)).toEqual([]);
    await field(first).press('Control+Enter');
    await row(first, 2).getByText('tab one again').waitFor();
    await notSent(first).getByRole('button', { name: 'Go on writing' }).click();
    await until('it is in the field', async () => (await field(first).inputValue()) === 'tab two');
    await notSent(first).waitFor({ state: 'detached' });
    await until('it is kept', () => isKept(ana, 'tab two'));
    await first.close();
    await ana.kill();
    await ana.start();
    const later = await stage.open(ana);
    await until('it is in the new window', async () => (await field(later).inputValue()) === 'tab two');
    expect(await notSent(later).count()).toBe(0);
    await field(later).press('Control+Enter');
    await row(later, 3).getByText('tab two').waitFor();
    await until('nothing is kept', () => isKept(ana, ''));
  });

  test('of a machine that only reads, and then is no member any more', async () => {
    const [ana, ben] = [await world().start('Ana'), await world().start('Ben')];
    await ana.does('create', 'Ward 3');
    await ana.does('append', 'one');
    await enter(ben, ana, '--rights', 'reader');
    const page = await stage.open(ben);
    await row(page, 1).getByText('one').waitFor();
    await page.getByText('You can read this log. To write in it, ask one of its keepers').waitFor();
    expect(await field(page).count()).toBe(0);
    await row(page, 1).hover();
    expect(await row(page, 1).getByRole('button').allInnerTexts()).toEqual(['Copy']);
    await ana.does('expel', 'Ben');
    await page.getByText('This machine is no longer a member. What was agreed while it was one').waitFor();
    await standing(page).getByText('no longer a member').waitFor();
    await page.getByText('As it was when this machine was removed.').waitFor();
    expect(await complaints(page)).toEqual([]);
  });

  test('of a copy that was damaged: what is kept, whom it waits for, and that it comes back by itself', async () => {
    const [ana, ben, cy] = await world().group('Ana', 'Ben', 'Cy');
    await ana.does('append', 'one');
    await until('Cy has it', async () => (await cy.log()).length === 1);
    await cy.stop();
    await ben.stop();
    await rm(join(await groupDir(cy), 'mark'));
    await cy.start();
    // What it says of its own damage is no trouble of this test.
    cy.troubles.length = 0;
    const page = await stage.open(cy);
    await row(page, 1).getByText('one').waitFor();
    await standing(page).getByText('waiting for 1 more').waitFor();
    await standing(page).click();
    await page.getByRole('dialog').getByText('This copy was damaged').waitFor();
    await page.keyboard.press('Escape');
    await field(page).click();
    await page.keyboard.type('written meanwhile');
    await page.keyboard.press('Control+Enter');
    await ben.start();
    await row(page, 2).getByText('written meanwhile').waitFor();
    await ben.does('append', 'three');
    await row(page, 3).getByText('three').waitFor();
    await standing(page).getByText('all agreed').waitFor();
    expect(await complaints(page)).toEqual([]);
    cy.troubles.length = 0;
  });

  test('of a log that can not be opened: which, why, and what to do, while the others go on', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Lab book');
    const dir = await groupDir(ana);
    await ana.does('create', 'Ward 3');
    const page = await stage.open(ana);
    await page.getByRole('button', { name: 'Lab book' }).click();
    await ana.stop();
    await rm(join(dir, 'db'), { recursive: true });
    await writeFile(join(dir, 'db'), 'no database');
    await ana.start();
    await page.getByRole('heading', { name: "Lab book can't be opened" }).waitFor();
    await page.getByText('Its files on this disk are damaged').waitFor();
    await page.getByText('The other members hold the whole log and go on.').waitFor();
    expect(await complaints(page)).toEqual([]);
    await page.getByRole('button', { name: 'Ward 3' }).click();
    await field(page).waitFor();
    await page.keyboard.type('goes on');
    await page.keyboard.press('Control+Enter');
    await row(page, 1).getByText('goes on').waitFor();
    ana.troubles.length = 0;
  });
});

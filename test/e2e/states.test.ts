import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { enter, type Peer, until, worldForEach } from '../integration/harness.ts';
import { complaints } from './complaints.ts';
import { stageForAll } from './stage.ts';

const world = worldForEach({ hasPages: true });
const stage = stageForAll();

const field = (page: Page) => page.getByRole('textbox', { name: 'Write an entry' });
const standing = (page: Page) => page.locator('header .standing').getByRole('button');
const row = (page: Page, position: number) => page.locator(`[data-position="${position}"]`);
const tail = (page: Page) => page.locator('section[aria-labelledby="tail-heading"]');

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

  test('of a damaged copy: what is kept, and that it reads on', async () => {
    const [ana, ben, cy] = await world().group('Ana', 'Ben', 'Cy');
    await ana.does('append', 'one');
    await until('Cy has it', async () => (await cy.log()).length === 1);
    await cy.stop();
    await rm(join(await groupDir(cy), 'mark'));
    await cy.start();
    // What it says of its own damage is no trouble of this test.
    cy.troubles.length = 0;
    const page = await stage.open(cy);
    await row(page, 1).getByText('one').waitFor();
    await page.getByText('This copy is damaged: it can be read, and nothing can be written on it.').waitFor();
    await page.getByText('damaged, does not vote').waitFor();
    await ben.does('append', 'two');
    await row(page, 2).getByText('two').waitFor();
    await standing(page).getByText('this copy is damaged').waitFor();
    await standing(page).click();
    await page
      .getByRole('dialog')
      .getByText('Nothing is lost in the group, and all that was agreed is here again.')
      .waitFor();
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

// What people do in windows, whatever shows them: a page in a browser, or the window's own program.
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { leaderOf, type Peer, until, untilStatus, type World } from '../integration/harness.ts';
import type { Stage } from './stage.ts';

/** Where a journey takes place. */
export interface Place {
  readonly world: World;
  readonly stage: Stage;
  /** A window stays when its peer is killed, since it belongs to a browser. */
  readonly outlives: boolean;
}

/** Starts a killed peer again; its window is the one that stayed, or a new one. */
async function comeBack({ stage, outlives }: Place, peer: Peer, page: Page): Promise<Page> {
  if (outlives) {
    await page.getByText(/^Not connected to Synod on this machine since/).waitFor();
    await peer.start();
    return page;
  }
  await until('its window is gone', () => page.isClosed());
  await peer.start();
  return stage.open(peer);
}

export const field = (page: Page) => page.getByRole('textbox', { name: 'Write an entry' });
export const agreed = (page: Page) => page.locator('[data-entries] article');

/** From the window of a machine that has none. */
export async function startLog(page: Page, title: string): Promise<void> {
  await page.getByRole('button', { name: 'Start a log…' }).click();
  await page.getByLabel('Its name').fill(title);
  await page.getByRole('button', { name: 'Start the log' }).click();
}

export async function write(page: Page, text: string): Promise<void> {
  // Where a dialog has just closed, the focus moves once more, and what is typed in that moment goes nowhere.
  await until(`${text} stands in the field`, async () => {
    await field(page).fill(text);
    return (await field(page).inputValue()) === text;
  });
  // What could not be sent stays in the field, with the reason; sent again it is the same entry.
  await until(`${text} is taken: ${await page.getByRole('status').allInnerTexts()}`, async () => {
    await field(page).press('Control+Enter');
    return (await field(page).inputValue()) === '';
  });
}

/** The agreed entries that are shown, in their order. */
export async function texts(page: Page): Promise<string[]> {
  const found = await page.locator('[data-entries] article .said').allInnerTexts();
  return found.map((text) => text.split('\n')[0]?.trim() ?? '');
}

export const places = (page: Page): Promise<string[]> => page.locator('[data-entries] article .place').allInnerTexts();

export async function untilShown(page: Page, text: string): Promise<void> {
  await until(`${text} is shown`, async () => (await texts(page)).includes(text));
}

export async function untilSame(pages: readonly Page[]): Promise<string[]> {
  return until('the same everywhere', async () => {
    const all = await Promise.all(pages.map(texts));
    return all.every((each) => `${each}` === `${all[0]}`) && (all[0] as string[]);
  });
}

/** What is written and not agreed yet, below the hairline. */
export const tail = (page: Page) => page.locator('section[aria-labelledby="tail-heading"]');

export const standing = (page: Page) => page.locator('header .standing');

export async function threeWindows(place: Place): Promise<void> {
  const { world, stage } = place;
  const peers = await world.group('Ana', 'Ben', 'Cy');
  const pages = await Promise.all(peers.map((peer) => stage.open(peer)));
  for (const [at, page] of pages.entries()) await write(page, `from window ${at}`);
  for (const page of pages) for (const at of pages.keys()) await untilShown(page, `from window ${at}`);
  expect(await untilSame(pages)).toHaveLength(3);
  for (const page of pages) expect(await places(page)).toEqual(['1', '2', '3']);

  const leader = await leaderOf(peers);
  await leader.kill();
  const others = peers.filter((peer) => peer !== leader);
  const pageOf = (peer: Peer): Page => pages[peers.indexOf(peer)] as Page;
  const [writing, reading] = others.map(pageOf) as [Page, Page];
  await write(writing, 'without it');
  await untilShown(reading, 'without it');
  pages[peers.indexOf(leader)] = await comeBack(place, leader, pageOf(leader));
  await untilShown(pageOf(leader), 'without it');
  expect(await untilSame(pages)).toHaveLength(4);
}

export async function aloneAndBack(place: Place): Promise<void> {
  const { world, stage } = place;
  const [ana, ben, cy] = await world.group('Ana', 'Ben', 'Cy');
  let page = await stage.open(ana);
  await write(page, 'before');
  await untilShown(page, 'before');
  await Promise.all([ben.stop(), cy.stop()]);
  await standing(page)
    .getByRole('button', { name: /waiting for 1 more/ })
    .waitFor();
  await write(page, 'while alone');
  await tail(page).getByText('while alone').waitFor();
  expect(await texts(page)).toEqual(['before']);
  await standing(page).getByRole('button').click();
  await page
    .getByRole('dialog')
    .getByText(/Ben|Cy/)
    .first()
    .waitFor();
  await page.keyboard.press('Escape');
  // Its own restart loses nothing, and a page that was open comes back by itself.
  await ana.kill();
  page = await comeBack(place, ana, page);
  await tail(page).getByText('while alone').waitFor();
  await Promise.all([ben.start(), cy.start()]);
  await untilShown(page, 'while alone');
  expect(await texts(page)).toEqual(['before', 'while alone']);
  await until('nothing waits', async () => (await tail(page).count()) === 0);
}

export async function editsAndReload(place: Place): Promise<void> {
  const { world, stage } = place;
  const [ana, ben] = await world.group('Ana', 'Ben');
  const [mine, other] = [await stage.open(ana), await stage.open(ben)];
  await write(mine, 'Bed 4: paracetamol 1 g');
  await write(mine, 'Bed 2 asked for the doctor');
  await untilShown(other, 'Bed 2 asked for the doctor');
  await agreed(other).first().focus();
  await other.keyboard.press('e');
  await other.getByRole('textbox', { name: 'New text of the entry' }).fill('Bed 4: paracetamol 1 g given');
  await other.keyboard.press('Control+Enter');
  await untilShown(mine, 'Bed 4: paracetamol 1 g given');
  await agreed(mine).nth(1).focus();
  await mine.keyboard.press('Delete');
  await mine
    .getByRole('dialog')
    .getByRole('button', { name: /Remove/ })
    .click();
  await untilShown(other, 'removed');
  await field(mine).fill('half a sen');
  await until(
    'the draft is kept',
    async () => (await (await ana.service()).draft({ about: 'new' }, new AbortController().signal)).text !== '',
  );
  await mine.reload();
  await untilShown(mine, 'Bed 4: paracetamol 1 g given');
  await until('the draft is back', async () => (await field(mine).inputValue()) === 'half a sen');
  expect(await untilSame([mine, other])).toEqual(['Bed 4: paracetamol 1 g given', 'removed']);
}

export async function fromNothingToTwo(place: Place): Promise<void> {
  const { world, stage } = place;
  const [ana, ben] = [await world.start('Ana'), await world.start('Ben')];
  const [mine, other] = [await stage.open(ana), await stage.open(ben)];
  await startLog(mine, 'Ward 3 · night log');
  await write(mine, 'first');
  await untilShown(mine, 'first');
  await mine
    .getByRole('button', { name: /^Invite/ })
    .first()
    .click();
  await mine.getByRole('button', { name: 'Make a ticket' }).click();
  const ticket = await mine.getByLabel('Ticket', { exact: true }).inputValue();
  expect(ticket).toMatch(/^synod1/);
  await mine.getByRole('button', { name: 'Done' }).click();
  await other.getByRole('button', { name: 'Join by ticket…' }).click();
  await other.getByLabel('The ticket that you were sent').fill(ticket);
  await other.getByRole('button', { name: 'Join', exact: true }).click();
  await untilShown(other, 'first');
  await write(other, 'from the other');
  await untilShown(mine, 'from the other');
  await untilStatus(
    ana,
    'both are here',
    ({ members }) => members.length === 2 && members.every((member) => member.connected),
  );
  await mine.getByRole('button', { name: '2 of 2 here · all agreed' }).waitFor();
}

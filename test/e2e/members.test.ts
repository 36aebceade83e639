import type { Page } from 'playwright-core';
import { describe, expect, test } from 'vitest';
import { enter, ticketOf, untilStatus, worldForEach } from '../integration/harness.ts';
import { complaints } from './complaints.ts';
import { stageForAll } from './stage.ts';
import { untilGivenUp } from './views.ts';

const world = worldForEach({ hasPages: true });
const stage = stageForAll();

const field = (page: Page) => page.getByRole('textbox', { name: 'Write an entry' });
const dialog = (page: Page) => page.getByRole('dialog');

/** Waits for the dialog to go, and types before anything else can happen in the page. */
async function typeAtOnce(page: Page, text: string): Promise<void> {
  await dialog(page).waitFor({ state: 'detached' });
  await page.keyboard.type(text);
}

async function expectTyped(page: Page, text: string): Promise<void> {
  expect(await field(page).inputValue()).toBe(text);
  expect(await focused(page)).toBe('Write an entry');
}

/** What has the keyboard, in a word. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(`(() => {
    const { activeElement: now } = document;
    return now === document.body ? 'nothing' : (now.getAttribute('aria-label') ?? now.textContent.replace(/\\s+/g, ' ').trim());
  })()`);

describe('the keyboard', () => {
  test('is in the field of a new log at once, and stays there: nothing that is typed gets lost', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    await page.getByRole('button', { name: 'Start a log…' }).click();
    for (let n = 1; n <= 8; n++) {
      await page.getByLabel('Its name').fill(`Log ${n}`);
      await page.keyboard.press('Enter');
      await typeAtOnce(page, `the first words of ${n}`);
      await expectTyped(page, `the first words of ${n}`);
      // How the log stands comes a moment later, and changes nothing about it.
      await page.locator('header .standing').getByText('all agreed').first().waitFor();
      await page.keyboard.type(', and more');
      await expectTyped(page, `the first words of ${n}, and more`);
      expect(await page.getByRole('heading', { level: 2, name: `Log ${n}`, exact: true }).count()).toBe(1);
      if (n < 8) await page.getByRole('button', { name: '+ New log' }).click();
    }
  });

  test('is in the field of a log that was joined, and of the demo', async () => {
    const [ana, ben, cy] = [await world().start('Ana'), await world().start('Ben'), await world().start('Cy')];
    await ana.does('create', 'Ward 3');
    const entries = Array.from({ length: 150 }, (_, n) => `entry ${n + 1}`).join('\n');
    await ana.launch(['append', '--lines', '-'], entries).ended;
    const ticket = await ticketOf(ana);
    const page = await stage.open(ben);
    await page.getByRole('button', { name: 'Join by ticket…' }).click();
    await page.getByLabel('The ticket that you were sent').fill(ticket);
    await page.getByRole('button', { name: 'Join', exact: true }).click();
    await typeAtOnce(page, 'hello from Ben');
    await expectTyped(page, 'hello from Ben');
    // Before the log is here it goes as soon as it is; typed once.
    await page.keyboard.press('Control+Enter');
    await page.locator('[data-entries]').getByText('hello from Ben').waitFor();
    await page.getByText('entry 150').waitFor();
    await page.keyboard.type('and again');
    await expectTyped(page, 'and again');
    await page.keyboard.press('Control+Enter');
    await page.locator('[data-entries]').getByText('and again').waitFor();

    const demo = await stage.open(cy);
    await demo.getByRole('button', { name: 'See a demo' }).click();
    await field(demo).waitFor();
    await demo.keyboard.type('while it fills');
    await demo.getByText('Nothing to hand over but the coffee').waitFor();
    await expectTyped(demo, 'while it fills');
  });

  test('goes back to what opened a dialog, or to the nearest that is left of it', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    await ana.does('append', 'one');
    const page = await stage.open(ana);
    await page.getByText('one', { exact: true }).waitFor();
    for (const name of ['+ New log', 'Join', 'Ana · Settings', 'Keys', 'Invite…']) {
      const button = page.getByRole('button', { name, exact: true });
      for (const close of ['Escape', 'cross']) {
        await button.click();
        if (close === 'Escape') await page.keyboard.press('Escape');
        else await page.getByRole('button', { name: 'Close' }).click();
        await dialog(page).waitFor({ state: 'detached' });
        expect(await focused(page)).toBe(name);
      }
    }
    const entry = page.locator('[data-position="1"]');
    await entry.focus();
    await page.keyboard.press('Delete');
    await page.getByRole('button', { name: 'Remove', exact: true }).click();
    await page.locator('[data-position="1"]').getByText('removed').waitFor();
    expect(await focused(page)).toMatch(/^Entry 1, Ana/);
    // What can be done with an entry is only there while the keyboard is on it.
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe('Revisions');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    expect(await focused(page)).toMatch(/^Entry 1, Ana|^Revisions/);
  });
});

test('two machines are let in one after the other, are given their votes together, and one is removed, by keyboard alone', async () => {
  const [ana, ben, cy] = [await world().start('Ana'), await world().start('Ben'), await world().start('Cy')];
  await ana.does('create', 'Ward 3');
  const page = await stage.open(ana);
  const press = async (name: string): Promise<void> => {
    await page.getByRole('button', { name, exact: true }).focus();
    await page.keyboard.press('Enter');
  };
  await page.getByText('Two more machines, and three can vote').waitFor();
  for (const guest of [ben, cy]) {
    await page.getByRole('region', { name: 'Members' }).getByRole('button', { name: 'Invite…' }).focus();
    await page.keyboard.press('Enter');
    // What is proposed, said by what comes of it.
    await dialog(page).getByText('Ana alone decides. Invite two: with three machines here').waitFor();
    if (guest === ben) expect(await complaints(page)).toEqual([]);
    await press('Make a ticket');
    const ticket = await page.getByLabel('Ticket', { exact: true }).inputValue();
    await page.keyboard.press('Escape');
    await guest.does('join', ticket);
    await page.getByRole('button', { name: `${guest.name}: more` }).waitFor();
  }
  await page.getByText('Ben and Cy read along. With their votes, any one of 3 may be away.').waitFor();
  await press('Let both vote…');
  await dialog(page).getByText('Then 3 machines decide; any one may be away.').waitFor();
  expect(await complaints(page)).toEqual([]);
  await press('Give the votes');
  await page.getByRole('status').getByText('Ben and Cy vote now.').waitFor();
  await page.getByText('survives one machine away').waitFor();
  // What opened the dialog is gone: its column is the nearest that is left.
  expect(await focused(page)).toBe('Members');

  await press('Ben: more');
  expect(await complaints(page)).toEqual([]);
  await press('Take the vote back…');
  await dialog(page).getByText('Then 2 decide, and both are needed. A third would let one be away.').waitFor();
  await page.keyboard.press('Escape');
  await dialog(page).waitFor({ state: 'detached' });
  expect(await focused(page)).toBe('Ben: more');

  // With two away nobody can agree to anything: one may leave it, and it comes into force by itself.
  await Promise.all([ben.stop(), cy.stop()]);
  await page.getByText("can't agree until one more is back").waitFor();
  await press('Cy: more');
  await press('Remove…');
  await dialog(page).getByText('Ben is away now: nothing would be agreed until it is back.').waitFor();
  await dialog(page).getByText('What was agreed so far stays on that machine').waitFor();
  await press('Remove');
  await dialog(page).getByRole('button', { name: 'Waiting for the group to agree…' }).waitFor();
  expect(await focused(page)).toBe('Close; it goes on');
  expect(await complaints(page)).toEqual([]);
  await page.keyboard.press('Enter');
  await page.getByText('It was asked for, and comes into force as soon as the group agrees.').waitFor();
  expect(await focused(page)).toBe('Cy: more');
  await ben.start();
  await page.getByRole('button', { name: 'Cy: more' }).waitFor({ state: 'detached' });
  await page.getByText('needs both machines that decide').waitFor();
  expect(await focused(page)).toBe('Members');
  await press('Ben: more');
  await press('Take the vote back…');
  await dialog(page).getByText('Then one machine decides; while it is away, nothing is agreed.').waitFor();
  await press('Take the vote back');
  await page.getByRole('status').getByText('Ben reads along now.').waitFor();
  await untilStatus(ana, 'one voter', ({ quorum, members }) => quorum.voters === 1 && members.length === 2);
});

test('of machines that vote and keep no log, and of one that is being removed, the members tell what they are', async () => {
  const [ana, ben, cy] = [await world().start('Ana'), await world().start('Ben'), await world().start('Cy')];
  await ana.does('create', 'Ward 3');
  await enter(ben, ana, '--role', 'witness');
  await enter(cy, ana, '--role', 'witness');
  await untilStatus(ana, 'two witnesses', ({ quorum }) => quorum.voters === 3 && quorum.reachable === 3);
  const page = await stage.open(ana);
  const row = (name: string) =>
    page.getByRole('listitem').filter({ has: page.getByRole('button', { name: `${name}: more` }) });
  await row('Cy').getByText('votes, keeps no log').waitFor();
  await page.getByText('needs Ana: of those here only it can lead').waitFor();

  // The change waits for Ben: without Cy, it takes both.
  await ben.stop();
  await page.getByText('needs both machines that decide').waitFor();
  await untilGivenUp();
  await page.getByRole('button', { name: 'Cy: more' }).click();
  await page.getByRole('button', { name: 'Remove…' }).click();
  await dialog(page).getByText('Then 2 decide, and both are needed. A third would let one be away.').waitFor();
  await page.getByRole('button', { name: 'Remove', exact: true }).click();
  await dialog(page).getByRole('button', { name: 'Waiting for the group to agree…' }).waitFor();
  await page.keyboard.press('Escape');
  await row('Cy').getByText('being removed · votes until then').waitFor();
  await page.locator('header .standing').getByText('1 of 2 here').first().waitFor();
  expect(await complaints(page)).toEqual([]);
  await page.getByRole('button', { name: 'Cy: more' }).click();
  expect(await dialog(page).getByRole('button').allInnerTexts()).toEqual(['✕', 'Copy']);
  await page.keyboard.press('Escape');
  await ben.start();
  await page.getByRole('button', { name: 'Cy: more' }).waitFor({ state: 'detached' });
});

test('who is no keeper is shown the members, and offered nothing to do with them', async () => {
  const [ana, ben] = [await world().start('Ana'), await world().start('Ben')];
  await ana.does('create', `Ward 3 ${'and everything that belongs to it '.repeat(4)}`);
  await enter(ben, ana);
  const narrow = await stage.open(ben, { width: 360, height: 740 });
  // However long a title is, all of the window is in the window.
  const send = await narrow.getByRole('button', { name: /^Send/ }).boundingBox();
  expect((send?.x ?? 0) + (send?.width ?? 0)).toBeLessThanOrEqual(360);
  const page = await stage.open(ben);
  await page.getByRole('button', { name: 'Ana: more' }).click();
  await dialog(page).getByText(ana.id).waitFor();
  expect(await dialog(page).getByRole('button').allInnerTexts()).toEqual(['✕', 'Copy']);
  expect(await page.getByRole('button', { name: 'Invite…' }).count()).toBe(0);
});

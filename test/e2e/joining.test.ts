import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { enter, type Peer, ticketOf, worldForAll } from '../integration/harness.ts';
import { stageForAll } from './stage.ts';
import { entry } from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();

let ana: Peer;

beforeAll(async () => {
  ana = await world.start('Ana');
  await ana.does('create', 'Ward 3');
});

const dialog = (page: Page) => page.getByRole('dialog');
const ticketField = (page: Page) => dialog(page).getByLabel('The ticket that you were sent');
const joinButton = (page: Page) => dialog(page).getByRole('button', { name: 'Join', exact: true });

async function openDialog(peer: Peer): Promise<Page> {
  const page = await stage.open(peer);
  await page.getByRole('button', { name: 'Join by ticket…' }).click();
  return page;
}

/** As a paste does it: typing so much would take minutes. */
async function paste(page: Page, text: string): Promise<void> {
  await ticketField(page).evaluate((node, pasted) => {
    (node as HTMLTextAreaElement).value = pasted;
    node.dispatchEvent(new Event('input', { bubbles: true }));
  }, text);
}

test('what is no ticket is said in plain words, however much of it there is', async () => {
  const page = await openDialog(await world.start('Ben'));
  const said = dialog(page).getByRole('alert');
  // The third of them is what no message to the peer may hold.
  for (const length of [100_000, 2_000_000, 20_000_000]) {
    await paste(page, `synod1${'a'.repeat(length)}`);
    await joinButton(page).click();
    await said.getByText(/^That is too long for a ticket\./).waitFor();
    await paste(page, 'Hello, see you at seven');
    await joinButton(page).click();
    await said.getByText(/^This is not a ticket: a ticket begins with synod1/).waitFor();
  }
  const two = [await ticketOf(ana), await ticketOf(ana)];
  await paste(page, `One of ${two.join(' and ')}`);
  await joinButton(page).click();
  await said.getByText(/^There are two different tickets in this text/).waitFor();
  expect(await page.getByText(/^Not connected/).count()).toBe(0);
});

test('a ticket is found in the message that it came in', async () => {
  const page = await openDialog(await world.start('Cy'));
  await ana.does('append', 'Bed 4: paracetamol 1 g given.');
  const ticket = await ticketOf(ana);
  await paste(page, `Hello Cy,\n\nhere is it: ${ticket.replace(/.{70}/, '$&\n')}\nsee you at seven\n`);
  await joinButton(page).click();
  await entry(page, 1).getByText('paracetamol').waitFor();
});

test('the dialog says what it does from the beginning, and what is likely when nobody lets it in', async () => {
  const host = await world.start('Dora');
  await host.does('create', 'Lab book');
  const ticket = await ticketOf(host);
  await enter(await world.start('Eve'), host);
  // The other invitation is used, and this one by the machine that comes now.
  await (await world.start('Finn')).does('join', ticket);
  const page = await openDialog(await world.start('Gus'));
  await paste(page, ticket);
  // Before the peer has heard of anybody.
  const seen = page.evaluate(
    () =>
      new Promise<string>((resolve) => {
        const list = document.querySelector('dialog ol') as HTMLElement;
        new MutationObserver(() => resolve(list.innerText)).observe(list, { childList: true, subtree: true });
      }),
  );
  await joinButton(page).click();
  expect(await seen).toBe('Looking for the machine that invites to Lab book…');
  await dialog(page)
    .getByText(/lets nobody in just now\. The ticket is probably used or expired: ask for a new one\./)
    .waitFor({ timeout: 30_000 });
  await dialog(page).getByText('Trying again; you can stop.').waitFor();
  await dialog(page).getByRole('button', { name: 'Stop trying' }).click();
  await joinButton(page).waitFor();
  expect(await dialog(page).getByText('Trying again').count()).toBe(0);
  // While somebody is invited the machine is asked, and knows.
  await ticketOf(host);
  await joinButton(page).click();
  await dialog(page)
    .getByRole('alert')
    .getByText(/^This ticket was already used by another machine; each lets one in\. Ask for a new one\.$/)
    .waitFor({ timeout: 30_000 });
});

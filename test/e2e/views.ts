/// <reference lib="dom" />
/// <reference lib="dom.iterable" />
// Peers in every state that a window can show, and the ways to each of its views.
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { SUSPICION_TICKS, TICK_MS } from '../../shared/consensus/constants.ts';
import type { PeerService } from '../../shared/ipc/contract.ts';
import { enter, never, type Peer, until, untilStatus, untilTogether, type World } from '../integration/harness.ts';
import { transcript, type Utterance } from '../integration/transcript.ts';

export const TITLE = 'Apollo 13 · air to ground';

/** What people write beside plain sentences: each kind of markup that an entry shows. */
export const MARKED_UP: readonly string[] = [
  'Before the burn:\n\n- [platform](https://example.org/platform) aligned\n- **two** people check the *gimbals*\n- `P30` loaded',
  '| tank | psi | °F |\n|---|---|---|\n| O2 1 | 887 | -181 |\n| O2 2 | 19 | 84 |',
  '## Handover\n\n> Undervolt on **main B**, then on A.\n\n1. Fuel cells 1 and 3 show no flow.\n2. The lander is powered up.\n\n---\n\n```\nP52 option 3\n```',
  '![the panel](https://example.org/panel.png) and a mail to <crew@example.org>',
];

export const field = (page: Page) => page.getByRole('textbox', { name: 'Write an entry' });
export const agreed = (page: Page) => page.locator('[data-entries] article');
/** What is written and not agreed yet, below the hairline. */
export const tail = (page: Page) => page.locator('section[aria-labelledby="tail-heading"]');
export const standing = (page: Page) => page.locator('header .standing').getByRole('button');
export const entry = (page: Page, position: number) => page.locator(`[data-entries] [data-position="${position}"]`);

export async function write(page: Page, text: string): Promise<void> {
  await until(`${text} stands in the field`, async () => {
    await field(page).fill(text);
    return (await field(page).inputValue()) === text;
  });
  await until(`${text} is taken`, async () => {
    await field(page).press('Control+Enter');
    return (await field(page).inputValue()) === '';
  });
}

/** As Ctrl+G does it; ends with the keyboard on the entry. */
export async function goTo(page: Page, position: number): Promise<void> {
  await page.keyboard.press('Control+g');
  await page.getByRole('dialog').getByRole('textbox').fill(`${position}`);
  await page.keyboard.press('Enter');
  await until(`#${position} has the keyboard`, () =>
    page.evaluate((at) => document.activeElement?.getAttribute('data-position') === `${at}`, position),
  );
}

/** How many appends are on their way at once. */
const IN_FLIGHT = 64;

export async function append(
  service: PeerService,
  entries: readonly { readonly text: string; readonly writer?: string }[],
): Promise<void> {
  const left = entries.values();
  const appender = async (): Promise<void> => {
    for (const each of left) await service.append({ ...each, wait: 'committed', timeoutMs: 60_000 }, never);
  };
  // One after the other where their order counts: a few entries are written at once anyway.
  if (entries.length <= IN_FLIGHT) await appender();
  else await Promise.all(Array.from({ length: IN_FLIGHT }, appender));
}

export const spoken = (from: number, to: number): { writer: string; text: string }[] =>
  transcript()
    .utterances.slice(from, to)
    .map(({ speaker, text }: Utterance) => ({ writer: speaker, text }));

/** Three voters in one log. */
export async function trio(world: World, title = TITLE): Promise<[Peer, Peer, Peer]> {
  const peers = (await Promise.all(['Houston', 'Odyssey', 'Aquarius'].map((name) => world.start(name)))) as [
    Peer,
    Peer,
    Peer,
  ];
  const [founder, ...others] = peers;
  await founder.does('create', title);
  for (const other of others) await enter(other, founder, '--role', 'voter');
  await founder.does('promote', peers[2].id);
  await Promise.all(peers.map((peer) => untilTogether(peer, 3)));
  return peers;
}

/** A log that people talk in, with markup, an edited entry and a removed one at its end. */
export async function fill(peer: Peer, lines = 60): Promise<void> {
  const service = await peer.service();
  await append(service, spoken(0, lines));
  await append(
    service,
    MARKED_UP.map((text, at) => ({ text, writer: ['CC', 'CDR', 'LMP', 'CMP'][at % 4] as string })),
  );
  const { positions } = await peer.status();
  const common = { wait: 'committed', timeoutMs: 60_000 } as const;
  await service.append({ ...common, text: 'Fuel cell 3 is off line.', writer: 'CMP' }, never);
  await service.edit({ ...common, entry: `${positions + 1}`, text: 'Fuel cells 1 and 3 are off line.' }, never);
  await service.append({ ...common, text: 'Said on the wrong loop.', writer: 'LMP' }, never);
  await service.remove({ ...common, entry: `${positions + 2}` }, never);
  await append(service, spoken(lines, lines + 6));
}

/** Brings a peer to hold an edit that its group did not take: another peer removed the entry while this one was away. */
export async function refuse(away: Peer, others: readonly [Peer, Peer], text: string): Promise<void> {
  const [keeper] = others;
  const [{ id, position }] = (await keeper.does('append', 'Stand by.')) as [{ id: string; position: number }];
  await untilStatus(away, 'has the entry', ({ positions }) => positions >= position);
  await Promise.all(others.map((other) => other.stop()));
  await away.does('edit', '--wait', 'saved', id, text);
  await away.stop();
  await Promise.all(others.map((other) => other.start()));
  await keeper.does('remove', id);
  await away.start();
  await until('the refusal', async () => (await away.status()).pending === 0);
}

/** A peer that is alone with what it holds, as after a disk lost a file of it. */
export async function damage(peer: Peer): Promise<void> {
  await peer.stop();
  const groups = join(peer.dir, 'groups');
  for (const group of await readdir(groups)) await rm(join(groups, group, 'mark'));
  await peer.start();
  await untilStatus(peer, 'is damaged', ({ whyCode }) => whyCode === 'NEEDS_DECISION');
}

export interface View {
  readonly name: string;
  /** From the page's main view to this one. */
  readonly bring: (page: Page) => Promise<unknown>;
  /** Back again; without it, Escape closes a dialog. */
  readonly leave?: (page: Page) => Promise<unknown>;
}

const stay = async (): Promise<void> => {};
const dialog = (page: Page) => page.getByRole('dialog');
const close = async (page: Page): Promise<void> => {
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
};

/** Brings a page into views, one after the other, and looks. */
export async function visit(
  page: Page,
  views: readonly View[],
  look: (name: string, page: Page) => Promise<unknown>,
): Promise<void> {
  for (const { name, bring, leave = close } of views) {
    await bring(page);
    await look(name, page);
    await leave(page);
  }
}

/** Of a peer that is in no group. */
export const FIRST_VIEWS: readonly View[] = [
  { name: 'first run', bring: (page) => page.getByRole('button', { name: 'Start a log…' }).waitFor(), leave: stay },
  { name: 'create', bring: (page) => page.getByRole('button', { name: 'Start a log…' }).click() },
  { name: 'join', bring: (page) => page.getByRole('button', { name: 'Join by ticket…' }).click() },
  {
    name: 'join failed',
    async bring(page) {
      await page.getByRole('button', { name: 'Join by ticket…' }).click();
      await page.getByLabel('The ticket that you were sent').fill('synod1thisisnoticket');
      await page.getByRole('button', { name: 'Join', exact: true }).click();
      await dialog(page).getByRole('alert').waitFor();
    },
  },
];

export const emptyLog: View = {
  name: 'empty log',
  bring: (page) => page.getByText('Nothing is written yet').waitFor(),
  leave: stay,
};

/** Of a peer in a log that `fill` wrote in. */
export const LOG_VIEWS: readonly View[] = [
  { name: 'log', bring: (page) => page.getByText('crew@example.org').waitFor(), leave: stay },
  {
    name: 'why',
    async bring(page) {
      await standing(page).click();
      await dialog(page).getByText('Deciding').waitFor();
    },
  },
  {
    name: 'entry',
    async bring(page) {
      await focusEntry(page);
      await page.getByRole('button', { name: 'Revisions' }).waitFor();
    },
    leave: stay,
  },
  {
    name: 'revisions',
    async bring(page) {
      await focusEntry(page);
      await page.getByRole('button', { name: 'Revisions' }).click();
      await dialog(page).getByText('Fuel cell 3 is off line.').waitFor();
    },
  },
  {
    name: 'remove',
    async bring(page) {
      await focusEntry(page);
      await page.keyboard.press('Delete');
      await dialog(page).waitFor();
    },
  },
  {
    name: 'edit',
    async bring(page) {
      await focusEntry(page);
      await page.keyboard.press('e');
      await page.getByRole('textbox', { name: 'New text of the entry' }).waitFor();
    },
    async leave(page) {
      await page.keyboard.press('Escape');
      await field(page).waitFor();
    },
  },
  { name: 'jump', bring: (page) => page.keyboard.press('Control+g') },

  { name: 'settings', bring: (page) => inLogs(page, /Settings/), leave: closeInLogs },
  { name: 'keys', bring: (page) => inLogs(page, 'Keys'), leave: closeInLogs },
  { name: 'new log', bring: (page) => inLogs(page, '+ New log'), leave: closeInLogs },
  {
    name: 'logs',
    async bring(page) {
      await toLogs(page);
      await page.getByRole('button', { name: /Settings/ }).waitFor();
    },
    leave: toLog,
  },
  {
    name: 'members',
    bring: toMembers,
    leave: fromMembers,
  },
  {
    name: 'invite',
    bring: openInvite,
    leave: closeInvite,
  },
  {
    name: 'ticket',
    async bring(page) {
      await openInvite(page);
      await page.getByRole('button', { name: 'Make a ticket' }).click();
      await dialog(page).getByRole('img', { name: /QR/ }).waitFor();
    },
    leave: closeInvite,
  },
];

async function focusEntry(page: Page): Promise<void> {
  await page.locator('[data-entries] article', { hasText: 'Fuel cells 1 and 3 are off line.' }).focus();
}

/** Narrow windows show one column at a time. */
async function toLogs(page: Page): Promise<void> {
  const back = page.getByRole('button', { name: 'Logs', exact: true });
  if (await back.isVisible()) await back.click();
}

async function toLog(page: Page): Promise<void> {
  const here = page.getByRole('navigation', { name: 'Logs' }).locator('[aria-current]');
  if (await here.isVisible()) await here.click();
  await page.locator('.log header').waitFor();
}

async function inLogs(page: Page, name: string | RegExp): Promise<void> {
  await toLogs(page);
  const button = page.getByRole('navigation', { name: 'Logs' }).getByRole('button', { name });
  await button.click();
  await dialog(page).waitFor();
}

async function closeInLogs(page: Page): Promise<void> {
  await close(page);
  await toLog(page);
}

export async function toMembers(page: Page): Promise<void> {
  await toLog(page);
  const button = page.locator('.log header').getByRole('button', { name: 'Members' });
  if (await button.isVisible()) await button.click();
  await page.getByRole('heading', { name: 'Members' }).waitFor();
}

async function fromMembers(page: Page): Promise<void> {
  const back = page.getByRole('button', { name: 'Back to the log' });
  if (await back.isVisible()) await back.click();
}

async function openInvite(page: Page): Promise<void> {
  await toMembers(page);
  await page
    .getByRole('region', { name: 'Members' })
    .getByRole('button', { name: /^Invite/ })
    .click();
  await dialog(page).waitFor();
}

async function closeInvite(page: Page): Promise<void> {
  await close(page);
  await fromMembers(page);
}

/** Whoever leads does not count any more on a machine that has just stopped. */
export const untilGivenUp = (): Promise<void> => sleep(2 * SUSPICION_TICKS * TICK_MS);

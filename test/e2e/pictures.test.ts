// A picture of every view, for people to look at: in `.tmp/pictures/`, and some of them for the documentation with SYNOD_PICTURES=docs/pictures.
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import { beforeAll, expect, test } from 'vitest';
import { enter, type Peer, root, untilStatus, worldForAll } from '../integration/harness.ts';
import { stageForAll } from './stage.ts';
import {
  damage,
  entry,
  FIRST_VIEWS,
  fill,
  LOG_VIEWS,
  refuse,
  standing,
  tail,
  toMembers,
  trio,
  untilGivenUp,
  visit,
  write,
} from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();

const FOLDER = join(root, '.tmp/pictures');
/** Those that the documentation shows, by their names there. */
const KEPT: Readonly<Record<string, string>> = {
  'busy wide light': 'window-light',
  'busy wide dark': 'window-dark',
  'waiting wide light': 'waiting',
  'busy narrow light': 'narrow',
  'first run wide light': 'first-run',
};
const KEPT_BYTES_MAX = 150 * 1024;

/** The launch of Apollo 13 and an hour after it: so the pictures of two runs tell the same times. */
const LAUNCH = Date.UTC(1970, 3, 11, 19, 13);
const NOW = LAUNCH + 3_600_000;

const SHAPES = [
  { size: 'wide', width: 1280, height: 800, colours: 'light' },
  { size: 'wide', width: 1280, height: 800, colours: 'dark' },
  { size: 'narrow', width: 360, height: 740, colours: 'light' },
  { size: 'narrow', width: 360, height: 740, colours: 'dark' },
] as const;

const taken: string[] = [];

/** The width and height of a PNG, and how many colours its lines begin with. */
function looked(png: Buffer): { width: number; height: number; isOneColour: boolean } {
  expect(png.subarray(0, 8)).toEqual(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]));
  const data: Buffer[] = [];
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  // Of one colour, every line after the first is the same: whatever the filter, there is nothing new in it.
  const lines = inflateSync(Buffer.concat(data));
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const size = lines.length / height;
  const different = new Set(
    Array.from({ length: height }, (_, at) => lines.toString('latin1', at * size, (at + 1) * size)),
  );
  return { width, height, isOneColour: different.size < 5 };
}

/** In both sizes and both colours. */
async function take(name: string, page: Page): Promise<void> {
  const { width } = page.viewportSize() ?? { width: 0 };
  for (const shape of SHAPES.filter((each) => each.width === width)) {
    await page.emulateMedia({ colorScheme: shape.colours, reducedMotion: 'reduce' });
    const title = `${name} ${shape.size} ${shape.colours}`;
    const path = join(FOLDER, `${title.replaceAll(' ', '-')}.png`);
    const seen = looked(await page.screenshot({ path, animations: 'disabled', caret: 'hide' }));
    expect({ title, ...seen }).toEqual({ title, width: shape.width, height: shape.height, isOneColour: false });
    taken.push(title);
    const kept = KEPT[title];
    if (process.env.SYNOD_PICTURES === undefined || kept === undefined) continue;
    const folder = join(root, process.env.SYNOD_PICTURES);
    mkdirSync(folder, { recursive: true });
    copyFileSync(path, join(folder, `${kept}.png`));
    expect(statSync(path).size, `${kept}.png`).toBeLessThanOrEqual(KEPT_BYTES_MAX);
  }
}

/** A wide and a narrow window, whose clocks stand, and for which every entry was written a minute after the one before. */
async function windows(peer: Peer): Promise<Page[]> {
  const pages: Page[] = [];
  for (const { width, height } of [SHAPES[0], SHAPES[2]]) {
    const page = await stage.open(peer, { width, height });
    await page.clock.setFixedTime(NOW);
    await page.addInitScript(
      ([launch, now]) => {
        const parse = JSON.parse;
        const at = (ms: number): string => new Date(ms).toISOString();
        JSON.parse = (text) =>
          parse(text, (key, value) => {
            if (key === 'lastSeen' && value !== null) return at(now as number);
            if (typeof value !== 'object' || value === null || typeof value.time !== 'string') return value;
            const time = at(
              typeof value.position === 'number' ? (launch as number) + value.position * 40_000 : (now as number),
            );
            return { ...value, time, ...(typeof value.placed === 'string' ? { placed: time } : {}) };
          });
      },
      [LAUNCH, NOW] as const,
    );
    await page.reload();
    pages.push(page);
  }
  return pages;
}

let alone: Peer;
let broken: Peer;
let peers: [Peer, Peer, Peer];

beforeAll(async () => {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  [alone, broken, peers] = await Promise.all([world.start('Alone'), world.start('Kranz'), trio(world)]);
  await fill(peers[0], 45);
});

test('before there is a log, and one that is empty', async () => {
  for (const page of await windows(alone)) await visit(page, FIRST_VIEWS, take);
  await alone.does('create', 'Lab book');
  for (const page of await windows(alone)) {
    await page.getByText('Nothing is written yet').waitFor();
    await take('empty', page);
  }
});

test('a log that three keep, and its dialogs', async () => {
  for (const page of await windows(peers[0])) {
    await page.getByText('crew@example.org').waitFor();
    await page.getByText('all agreed').first().waitFor();
    await take('busy', page);
    await visit(
      page,
      LOG_VIEWS.filter(({ name }) => name !== 'log'),
      take,
    );
  }
});

test('what was not taken, what waits, and a peer that is gone', async () => {
  const [houston, odyssey, aquarius] = peers;
  await refuse(odyssey, [houston, aquarius], 'Stand by, **13**: we are looking at it.');
  const pages = await windows(odyssey);
  for (const page of pages) {
    await page.getByRole('button', { name: 'Post as new' }).waitFor();
    await take('refused', page);
    await page.getByRole('button', { name: 'Dismiss' }).first().focus();
  }
  await pages[0]?.getByRole('button', { name: 'Dismiss' }).click();
  for (const page of pages) await page.getByText('not taken').first().waitFor({ state: 'detached' });
  await Promise.all([houston.stop(), aquarius.stop()]);
  await standing(pages[0] as Page)
    .getByText('waiting for 1 more')
    .waitFor();
  await write(pages[0] as Page, 'Houston, we’ve had a problem.');
  await write(pages[0] as Page, 'We’ve had a **main B bus undervolt**.');
  for (const page of pages) {
    await tail(page).getByText('undervolt').waitFor();
    await take('waiting', page);
    await standing(page).click();
    await page.getByRole('dialog').waitFor();
    await take('why it waits', page);
    await page.keyboard.press('Escape');
  }
  await odyssey.kill();
  for (const page of pages) {
    await page.getByText(/^Not connected to Synod on this machine since/).waitFor();
    await take('lost', page);
  }
});

test('machines that vote and keep no log, and one that is being removed', async () => {
  const [capcom, goldstone, honeysuckle] = await Promise.all(
    ['Capcom', 'Goldstone', 'Honeysuckle'].map((name) => world.start(name)),
  );
  if (capcom === undefined || goldstone === undefined || honeysuckle === undefined)
    throw new Error('three were started');
  await capcom.does('create', 'Tracking');
  for (const station of [goldstone, honeysuckle]) await enter(station, capcom, '--role', 'witness');
  await untilStatus(capcom, 'two witnesses', ({ quorum }) => quorum.voters === 3 && quorum.reachable === 3);
  const pages = await windows(capcom);
  for (const page of pages) {
    await toMembers(page);
    await page.getByText('needs Capcom: of those here only it can lead').waitFor();
    await take('witnesses', page);
  }
  // The change waits for one of them: without the other, it takes both.
  await goldstone.stop();
  await untilGivenUp();
  await capcom.launch(['expel', honeysuckle.id, '--timeout', '1s']).ended;
  for (const page of pages) {
    await page.getByText('being removed · votes until then').waitFor();
    await take('being removed', page);
  }
});

test('a copy that is damaged', async () => {
  await broken.does('create', 'Flight director');
  for (const text of ['Let’s solve the problem.', 'But let’s not make it any worse by guessing.'])
    await broken.does('append', text);
  await damage(broken);
  // The one thing that this peer had to complain about.
  expect(broken.troubles.splice(0)).toEqual([expect.stringContaining('MARK_MISSING')]);
  for (const page of await windows(broken)) {
    await entry(page, 1).waitFor();
    await standing(page).getByText('a person must decide').waitFor();
    await take('damaged', page);
    await standing(page).click();
    await page.getByRole('dialog').waitFor();
    await take('why it is damaged', page);
    await page.keyboard.press('Escape');
  }
});

test('every view has its picture', async () => {
  const page = await stage.open(alone);
  await page.goto('about:blank');
  expect(looked(await page.screenshot()).isOneColour).toBe(true);
  expect(new Set(taken).size).toBe(taken.length);
  for (const title of Object.keys(KEPT)) expect(taken).toContain(title);
});

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import type { GroupStatus } from '../../shared/ipc/contract.ts';
import { type Peer, until, untilStatus, worldForAll } from '../integration/harness.ts';
import { stageForAll } from './stage.ts';
import {
  agreed,
  append,
  emptyLog,
  entry,
  FIRST_VIEWS,
  field,
  fill,
  LOG_VIEWS,
  refuse,
  standing,
  tail,
  trio,
  visit,
  write,
} from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** The last is a window of 1280×800 at 200 % zoom: half as many pixels of the page's own. */
const SIZES = { wide: [1280, 800], narrow: [360, 740], zoomed: [640, 400] } as const;
type Size = keyof typeof SIZES;

async function resize(page: Page, size: Size, colours: 'light' | 'dark'): Promise<void> {
  const [width, height] = SIZES[size];
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: colours });
}

/** What the rules have against a page as it stands. */
async function faults(page: Page): Promise<string[]> {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(axeSource);
  const { violations } = await page.evaluate(
    (rules) =>
      (window as unknown as { axe: { run(where: Document, how: unknown): Promise<AxeResults> } }).axe.run(document, {
        runOnly: rules,
        resultTypes: ['violations'],
      }),
    RULES,
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id} at ${target}: ${failureSummary?.replace(/\s+/g, ' ')}`),
  );
}

/** What sticks out to the side, where the page could be scrolled to it. */
const sideways = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const { clientWidth } = document.documentElement;
    const root = document.scrollingElement as Element;
    const boxes = [root, ...document.querySelectorAll('dialog, nav, .scroller, main, section, header')];
    const scrolled = boxes.filter(({ scrollWidth, clientWidth }) => clientWidth > 0 && scrollWidth > clientWidth);
    const shown = [...document.querySelectorAll('button, input, select, textarea, h1, h2, dialog')];
    const outside = shown.filter((each) => {
      const { left, right, width } = each.getBoundingClientRect();
      return width > 1 && (left < 0 || right > clientWidth);
    });
    return [...scrolled, ...outside].map((each) => each.outerHTML.slice(0, 120));
  });

/** Everything that is wrong with a view, in each size and both colours. */
async function judge(name: string, page: Page): Promise<string[]> {
  const found: string[] = [];
  const size = page.viewportSize();
  // Colours don't depend on the size, so each of the small ones is looked at in one of the two.
  const shapes =
    size?.width === SIZES.wide[0]
      ? ([
          ['wide', 'light'],
          ['wide', 'dark'],
        ] as const)
      : ([
          ['narrow', 'dark'],
          ['zoomed', 'light'],
        ] as const);
  for (const [each, colours] of shapes) {
    await resize(page, each, colours);
    const wrong = [...(await faults(page)), ...(await sideways(page)).map((what) => `sticks out: ${what}`)];
    found.push(...wrong.map((what) => `${name}, ${each}, ${colours}: ${what}`));
  }
  if (size) await page.setViewportSize(size);
  return found;
}

const narrow = { width: SIZES.narrow[0], height: SIZES.narrow[1] };

/** Where the keyboard is, for people who read a failure. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const { activeElement: at } = document;
    if (!at || at === document.body) return 'body';
    const words = at.getAttribute('aria-label') ?? at.textContent?.trim().replace(/\s+/g, ' ').slice(0, 40) ?? '';
    return `${at.tagName.toLowerCase()} ${words}`.trim();
  });

const untilFocus = (page: Page, what: RegExp): Promise<string> =>
  until(
    `the keyboard is on ${what}`,
    async () => {
      const at = await focused(page);
      return what.test(at) && at;
    },
    15_000,
  ).catch(async (error: Error) => {
    throw new Error(`${error.message}, but on: ${await focused(page)}`);
  });

async function closeDialog(page: Page): Promise<void> {
  await page.keyboard.press('Escape');
  await page.locator('dialog').waitFor({ state: 'detached' });
}

/** Goes through a page by Tab, and names what shows no sign of being reached. */
async function unseenFocus(page: Page, steps = 60): Promise<{ unseen: string[]; seen: string[] }> {
  const unseen: string[] = [];
  const seen: string[] = [];
  for (let step = 0; step < steps; step++) {
    await page.keyboard.press('Tab');
    const found = await page.evaluate(() => {
      const { activeElement: at } = document;
      if (!at || at === document.body) return null;
      const { outlineStyle, outlineWidth, outlineColor, visibility } = getComputedStyle(at);
      const { width, height } = at.getBoundingClientRect();
      const isVisible =
        width > 1 && height > 1 && visibility === 'visible' && at.checkVisibility({ opacityProperty: true });
      const isMarked = at.matches(':focus-visible') && outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2;
      const isClear = !/rgba\(.*, 0\)|transparent/.test(outlineColor);
      return { what: at.outerHTML.slice(0, 120), isGood: isVisible && isMarked && isClear };
    });
    if (found === null) continue;
    if (seen.includes(found.what)) break;
    seen.push(found.what);
    if (!found.isGood) unseen.push(found.what);
  }
  return { unseen, seen };
}

describe('nobody is kept out', () => {
  let alone: Peer;
  let empty: Peer;
  let peers: [Peer, Peer, Peer];

  beforeAll(async () => {
    [alone, empty, peers] = await Promise.all([world.start('Alone'), world.start('Empty'), trio(world)]);
    await empty.does('create', 'Lab book');
    await fill(peers[0], 30);
  });

  test.each(['wide', 'narrow'] as const)('before there is a log: %s', async (size) => {
    const page = await stage.open(alone, size === 'wide' ? {} : narrow);
    const found: string[] = [];
    await visit(page, FIRST_VIEWS, async (name) => found.push(...(await judge(name, page))));
    await page.evaluate(() => sessionStorage.clear());
    await page.goto(new URL('/', alone.web as string).href);
    await page.getByRole('heading', { name: 'This page needs its key' }).waitFor();
    found.push(...(await judge('no key', page)));
    expect(found).toEqual([]);
  });

  test.each(['wide', 'narrow'] as const)('an empty log: %s', async (size) => {
    const page = await stage.open(empty, size === 'wide' ? {} : narrow);
    const found: string[] = [];
    await visit(page, [emptyLog], async (name) => found.push(...(await judge(name, page))));
    expect(found).toEqual([]);
  });

  test.each(['wide', 'narrow'] as const)('a log and its dialogs: %s', async (size) => {
    const page = await stage.open(peers[0], size === 'wide' ? {} : narrow);
    const found: string[] = [];
    await visit(page, LOG_VIEWS, async (name) => found.push(...(await judge(name, page))));
    expect(found).toEqual([]);
  });

  test('whoever steps through by Tab sees where it is, and reaches all of it', async () => {
    const page = await stage.open(peers[0]);
    const steps: string[] = [];
    await page.getByText('crew@example.org').waitFor();
    await untilFocus(page, /Write an entry/);
    const log = await unseenFocus(page);
    expect(log.unseen).toEqual([]);
    for (const part of ['<article', '<textarea', '<button', 'Members', 'Invite', 'Settings'])
      expect(log.seen.length, `${part} in ${log.seen.join('\n')}`).toBeGreaterThan(5);
    await visit(
      page,
      LOG_VIEWS.filter(({ name }) => /why|revisions|invite|settings|keys|jump|ticket/.test(name)),
      async (name) => {
        const { unseen, seen } = await unseenFocus(page, 15);
        steps.push(...unseen.map((what) => `${name}: ${what}`));
        expect(seen.length, name).toBeGreaterThan(0);
      },
    );
    expect(steps).toEqual([]);
  });

  test('the keyboard alone does everything, and is never lost', async () => {
    const page = await stage.open(empty);
    await emptyLog.bring(page);
    await untilFocus(page, /Write an entry/);
    // A log of one's own.
    for (let step = 0; !/New log/.test(await focused(page)); step++) {
      expect(step).toBeLessThan(30);
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await untilFocus(page, /^input/);
    await closeDialog(page);
    await untilFocus(page, /New log/);
    await page.keyboard.press('Enter');
    await untilFocus(page, /^input/);
    await page.keyboard.type('Night log');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Night log' }).waitFor();
    await untilFocus(page, /Write an entry/);
    for (const [at, text] of ['one', 'two', 'three'].entries()) {
      await page.keyboard.type(text);
      await page.keyboard.press('Control+Enter');
      await entry(page, at + 1).waitFor();
    }
    await until('all is sent', async () => (await field(page).inputValue()) === '');
    // Up and down.
    await page.keyboard.press('Escape');
    await untilFocus(page, /^article Entry 3/);
    await page.keyboard.press('k');
    await untilFocus(page, /^article Entry 2/);
    await page.keyboard.press('ArrowUp');
    await untilFocus(page, /^article Entry 1/);
    await page.keyboard.press('j');
    await page.keyboard.press('ArrowDown');
    await untilFocus(page, /^article Entry 3/);
    await page.keyboard.press('Home');
    await untilFocus(page, /^article Entry 1/);
    await page.keyboard.press('End');
    await untilFocus(page, /^article Entry 3/);
    await page.keyboard.press('Home');
    await untilFocus(page, /^article Entry 1/);
    // An edit.
    await page.keyboard.press('e');
    await untilFocus(page, /New text of the entry/);
    await page.keyboard.press('Control+End');
    await page.keyboard.type(', better');
    await page.keyboard.press('Control+Enter');
    await entry(page, 1).getByText('one, better').waitFor();
    await untilFocus(page, /Write an entry/);
    await page.keyboard.press('Escape');
    await untilFocus(page, /^article Entry 1/);
    // A removal, thought better of, and done.
    await page.keyboard.press('Delete');
    await untilFocus(page, /^button Remove/);
    await closeDialog(page);
    await untilFocus(page, /^article Entry 1/);
    await page.keyboard.press('Delete');
    await untilFocus(page, /^button Remove/);
    await page.keyboard.press('Enter');
    await entry(page, 1).getByText('removed').waitFor();
    await untilFocus(page, /^article Entry 1/);
    // Back again, by the entry's own buttons.
    await page.keyboard.press('Tab');
    await untilFocus(page, /^button Restore/);
    await page.keyboard.press('Enter');
    await entry(page, 1).getByText('one, better').waitFor();
    await untilFocus(page, /^article Entry 1/);
    for (const [name, tabs] of [
      ['Remove', 2],
      ['Revisions', 4],
    ] as const) {
      for (let tab = 0; tab < tabs; tab++) await page.keyboard.press('Tab');
      await untilFocus(page, new RegExp(`^button ${name}`));
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      await until('the dialog has the keyboard', () =>
        page.evaluate(() => document.activeElement?.closest('dialog') !== null),
      );
      await page.keyboard.press('Escape');
      await page.locator('dialog').waitFor({ state: 'detached' });
      await untilFocus(page, new RegExp(`^article Entry 1|^button ${name}`));
      await entry(page, 1).focus();
    }
    // Elsewhere.
    await page.keyboard.press('Control+g');
    await untilFocus(page, /^input/);
    await closeDialog(page);
    await untilFocus(page, /^article Entry 1/);
    await page.keyboard.press('Control+g');
    await untilFocus(page, /^input/);
    await page.keyboard.type('2');
    await page.keyboard.press('Enter');
    await untilFocus(page, /^article Entry 2/);
    await page.keyboard.press('?');
    await untilFocus(page, /^button Close/);
    await closeDialog(page);
    await untilFocus(page, /^article Entry 2/);
    await page.keyboard.press('/');
    await untilFocus(page, /^input/);
    await closeDialog(page);
    await untilFocus(page, /^article Entry 2/);
    await page.keyboard.press('n');
    await untilFocus(page, /Write an entry/);
    for (const name of [
      /^button 1 of 1 here/,
      /^button Invite…/,
      /^button Empty · Settings/,
      /^button Keys/,
      /^button Join/,
    ]) {
      for (let step = 0; !name.test(await focused(page)); step++) {
        expect(step, `${name} is reached by Tab`).toBeLessThan(40);
        await page.keyboard.press('Tab');
      }
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').waitFor();
      await page.keyboard.press('Escape');
      await page.locator('dialog').waitFor({ state: 'detached' });
      await untilFocus(page, name);
    }
  });

  test('keys that are pressed before the kept draft is here add to the text of the entry', async () => {
    const page = await stage.open(empty);
    const { positions } = (await (await empty.service()).status({}, new AbortController().signal))
      .groups[0] as GroupStatus;
    for (const at of [1, 2, 3]) await write(page, `quick ${at}`);
    await entry(page, positions + 3).focus();
    // In one breath: no answer of the peer can come between.
    const text = await page.evaluate(async () => {
      document.activeElement?.dispatchEvent(
        new KeyboardEvent('keydown', { key: 'e', bubbles: true, cancelable: true }),
      );
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      return document.querySelector<HTMLTextAreaElement>('textarea[aria-label="New text of the entry"]')?.value;
    });
    expect(text).toBe('quick 3');
    await page.keyboard.press('Control+End');
    await page.keyboard.type(' and more');
    await page.keyboard.press('Control+Enter');
    await entry(page, positions + 3)
      .getByText('quick 3 and more')
      .waitFor();
  });

  test('one column at a time, too, the keyboard comes along', async () => {
    const page = await stage.open(peers[0], narrow);
    await page.getByText('crew@example.org').waitFor();
    await page.getByRole('button', { name: 'Logs', exact: true }).focus();
    await page.keyboard.press('Enter');
    await untilFocus(page, /^button Apollo/);
    await page.keyboard.press('Enter');
    await page.locator('.log header').waitFor();
    await until('the keyboard is somewhere', async () => (await focused(page)) !== 'body', 15_000);
    await page.locator('.log header').getByRole('button', { name: 'Members' }).focus();
    await page.keyboard.press('Enter');
    await untilFocus(page, /^button Back to the log/);
    await page.keyboard.press('Enter');
    await page.locator('.log header').waitFor();
    await until('the keyboard is somewhere', async () => (await focused(page)) !== 'body', 15_000);
  });

  test('where less motion is asked for, nothing moves', async () => {
    const page = await stage.open(empty);
    await page.emulateMedia({ reducedMotion: 'reduce' });
    // Every frame is looked at, from the first key to the entry in its place.
    await page.evaluate(() => {
      const moved = new Set<string>();
      Object.assign(window, { moved });
      const look = (): void => {
        for (const animation of document.getAnimations()) {
          const { duration, iterations } = animation.effect?.getComputedTiming() ?? {};
          if (Number(duration) * Number(iterations) > 0) {
            const { target } = animation.effect as KeyframeEffect;
            moved.add(`${(animation as CSSAnimation).animationName} on ${target?.outerHTML.slice(0, 80)}`);
          }
        }
        requestAnimationFrame(look);
      };
      look();
    });
    const before = await agreed(page).count();
    for (const text of ['still', 'waters']) await write(page, text);
    await entry(page, before + 2).waitFor();
    await page.locator('.log header').getByRole('button', { name: /here/ }).hover();
    await page.keyboard.press('Control+g');
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await until('everything is agreed', async () => (await tail(page).count()) === 0);
    expect(await page.evaluate(() => [...(window as unknown as { moved: Set<string> }).moved])).toEqual([]);
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  });

  test('what was not taken, what waits, and a peer that is gone', async () => {
    const [houston, odyssey, aquarius] = peers;
    await refuse(odyssey, [houston, aquarius], 'Stand by, **13**.');
    const away = await stage.open(odyssey);
    const small = await stage.open(odyssey, narrow);
    const found: string[] = [];
    for (const page of [away, small]) {
      await page.getByRole('button', { name: 'Post as new' }).waitFor();
      found.push(...(await judge('refused', page)));
    }
    await Promise.all([houston.stop(), aquarius.stop()]);
    for (const page of [away, small]) await standing(page).getByText('waiting for 1 more').waitFor();
    await write(away, 'Houston, do you read?');
    for (const page of [away, small]) {
      await tail(page).getByText('do you read').waitFor();
      found.push(...(await judge('pending', page)));
      await standing(page).click();
      await page.getByRole('dialog').waitFor();
      found.push(...(await judge('why it waits', page)));
      await page.keyboard.press('Escape');
    }
    // What vanishes under the keyboard hands it on.
    await away.getByRole('button', { name: 'Dismiss' }).focus();
    await away.keyboard.press('Enter');
    await away.getByText('not taken').first().waitFor({ state: 'detached' });
    await until('the keyboard is somewhere', async () => (await focused(away)) !== 'body', 15_000);
    await odyssey.kill();
    for (const page of [away, small]) {
      await page.getByText(/^Not connected to Synod on this machine since/).waitFor();
      found.push(...(await judge('lost', page)));
    }
    expect(found).toEqual([]);
  });
});

test('what a person needs to hear of an entry is said with it', async () => {
  const peer = await world.start('Told');
  await peer.does('create', 'Log');
  await append(await peer.service(), [{ text: 'first' }, { text: 'second', writer: 'CC' }]);
  await untilStatus(peer, 'has both', ({ positions }) => positions === 2);
  const page = await stage.open(peer);
  await entry(page, 2).waitFor();
  expect(await entry(page, 2).getAttribute('aria-label')).toMatch(/^Entry 2, CC, \d\d:\d\d$/);
  expect(await entry(page, 2).getAttribute('aria-setsize')).toBe('2');
});

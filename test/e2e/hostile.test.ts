import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Peer, until, untilStatus, worldForAll } from '../integration/harness.ts';
import { stageForAll } from './stage.ts';
import { agreed, append, entry, field, goTo, standing, tail, write } from './views.ts';

const world = worldForAll({ hasPages: true });
const stage = stageForAll();

/** Nothing may answer there: what asks for it fails the test. */
const OUTSIDE = 'http://192.0.2.1/seen';

const MARKUP: readonly string[] = [
  '<script>alert(1)</script>',
  `<img src=x onerror="alert(1)"><img src="${OUTSIDE}">`,
  `<iframe src="${OUTSIDE}"></iframe><iframe srcdoc="<script>parent.alert(1)</script>"></iframe>`,
  '<svg onload=alert(1)><animate onbegin=alert(1) attributeName=x></svg>',
  `<style>*{display:none} @import "${OUTSIDE}";</style><p style="position:fixed;inset:0">over all</p>`,
  `<link rel=stylesheet href="${OUTSIDE}"><base href="${OUTSIDE}"><meta http-equiv=refresh content="0;url=${OUTSIDE}">`,
  `<form action="${OUTSIDE}"><input autofocus onfocus=alert(1)><button>go</button></form>`,
  '<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>',
  '</div></article></main><script>alert(1)</script>',
  '<a href="javascript:alert(1)">x</a> <details open ontoggle=alert(1)>',
  '[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,<script>alert(1)</script>) [d](vbscript:x)',
  '[e](file:///etc/passwd) [f](java\tscript:alert(1)) [g](&#106;avascript:alert(1)) [h](//192.0.2.1/seen) [i](blob:x)',
  '<javascript:alert(1)> <data:text/html,x> <file:///etc/passwd>',
  `![remote](${OUTSIDE}.png) ![data](data:image/svg+xml,<svg/onload=alert(1)>) [![both](${OUTSIDE})](${OUTSIDE})`,
  `[x](${OUTSIDE} "\\"onmouseover=alert(1) ") [y]: ${OUTSIDE}\n\n[y]`,
  '[good](https://example.org/a?b=c&d) <https://example.org/> <mail@example.org> https://example.org/plain',
  '{{constructor.constructor("alert(1)")()}} {@html "<b>"}',
  '`<script>` ``` <b> ```\n\n```html" onmouseover="alert(1)\n<script>alert(1)</script>\n```',
];

const TURNED: readonly string[] = [
  '\u202e reversed to the end',
  '\u202d\u202e\u202a\u202b\u2066\u2067\u2068 never closed',
  '\u2069\u2069\u202c\u202c closed and never opened',
  'עברית and 123, العربية (brackets) [1]',
  `${'Z\u0335\u0321\u0316'.repeat(3)}${'e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308'.repeat(40)}`,
  `a${'\u0301'.repeat(5_000)}`,
  'zero\u200b\u200c\u200d\u2060\ufeffwidth\u00ad',
  '\ufdfd'.repeat(60),
  '👩‍👩‍👧‍👦'.repeat(200),
  '\u2028\u2029\u0085 line ends of other kinds',
  'x'.repeat(19_000),
];

/** What some readers of Markdown take for ever about, of the greatest length that is read as Markdown. */
const READ_MAX = 19_999;
const filled = (piece: string): string => piece.repeat(Math.ceil(READ_MAX / piece.length)).slice(0, READ_MAX);
const KNOTS: readonly string[] = [
  ...['[', '*', '>', '`', '> ', '- ', '>- ', '![', '[a](', '*a **a ', '_a', '<', '&', '\\', '|', '~~a', '[[a]'].map(
    filled,
  ),
  Array.from({ length: 190 }, (_, length) => `${'`'.repeat(length)} `).join(''),
  // A wide head, and each of many short lines below it would be filled up to its width.
  `${'a|'.repeat(1_000)}\n${'-|'.repeat(1_000)}\n${'a\n'.repeat(7_900)}`,
  `${'a|'.repeat(100)}\n${'-|'.repeat(100)}\n${'a\n'.repeat(9_500)}`,
];

const NAMES: readonly string[] = [
  '\u202eevil',
  '<img src=x onerror=alert(1)>',
  'a\u0301\u0302\u0303'.repeat(20),
  '\u200b',
  'W'.repeat(200),
  '\u2067\u2066unbalanced',
  '😀',
];

const MEBIBYTE = 1024 * 1024;

/** As many as there can be at once, by the real command line. */
async function importAll(peer: Peer, lines: readonly { text: string; writer?: string }[]): Promise<void> {
  const running = peer.launch(
    ['import', '--writer-field', 'writer', '-'],
    lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  const { code, lines: answers, err } = await running.ended;
  expect({ code, last: answers.at(-1) }, err).toMatchObject({ code: 0, last: { imported: lines.length, failed: 0 } });
}

/** What else a page could do that nobody asked for. */
function watchOver(page: Page): string[] {
  const deeds: string[] = [];
  page.on('dialog', (dialog) => {
    deeds.push(`a box: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('framenavigated', (frame) => {
    if (!frame.url().startsWith(`${new URL(page.url()).origin}/`)) deeds.push(`went to ${frame.url()}`);
  });
  page.on('popup', (other) => deeds.push(`opened ${other.url()}`));
  page.on('download', () => deeds.push('a download'));
  return deeds;
}

/** What text became that it must not become. */
const alive = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const found: string[] = [];
    for (const said of document.querySelectorAll('.text')) {
      for (const node of said.querySelectorAll('*')) {
        const isPlain = /^(P|BR|HR|EM|STRONG|S|CODE|PRE|BLOCKQUOTE|UL|OL|LI|A|SPAN|TABLE|THEAD|TBODY|TR|TH|TD)$/.test(
          node.tagName,
        );
        const attributes = [...node.attributes].filter(
          ({ name }) => !/^(href|rel|target|dir|start|class|tabindex)$/.test(name),
        );
        if (!isPlain || attributes.length > 0) found.push(node.outerHTML.slice(0, 200));
        if (node.tagName !== 'A') continue;
        const isGood = /^(https?:\/\/|mailto:)/.test(node.getAttribute('href') ?? '');
        const isApart = /\bnoopener\b/.test(node.getAttribute('rel') ?? '') && node.getAttribute('target') === '_blank';
        if (!isGood || !isApart) found.push(node.outerHTML.slice(0, 200));
      }
    }
    const anywhere = document.querySelectorAll(
      'iframe, object, embed, svg:not([role="img"]), base, form[action], body script, style',
    );
    return [...found, ...[...anywhere].map((node) => node.outerHTML.slice(0, 200))];
  });

/** Rows one below the other, and their columns where all rows have them. */
const crooked = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const rows = [...document.querySelectorAll<HTMLElement>('[data-entries] .row')];
    const boxes = rows
      .map((row) => ({ row, box: row.getBoundingClientRect() }))
      .toSorted((a, b) => a.box.top - b.box.top);
    const found: string[] = [];
    for (const [at, { row, box }] of boxes.entries()) {
      const next = boxes[at + 1];
      if (next && next.box.top < box.bottom - 1) found.push(`row ${row.dataset.row} lies over the next one`);
    }
    const lefts = new Map<string, Set<number>>();
    for (const row of document.querySelectorAll('[data-entries] article')) {
      for (const part of ['.place', '.author', 'time', '.said']) {
        const box = row.querySelector(part)?.getBoundingClientRect();
        const around = row.getBoundingClientRect();
        if (!box) continue;
        if (box.right > around.right + 1)
          found.push(`${part} sticks out of ${row.getAttribute('aria-label')?.slice(0, 40)}`);
        // In a narrow window the time follows the name.
        if (part !== 'time' || window.innerWidth > 700) {
          lefts.set(part, (lefts.get(part) ?? new Set()).add(Math.round(part === '.place' ? box.right : box.left)));
        }
      }
    }
    for (const [part, where] of lefts) if (where.size > 1) found.push(`${part} begins at ${[...where]}`);
    if (document.documentElement.scrollWidth > document.documentElement.clientWidth) found.push('the page is too wide');
    return found;
  });

/** Brings every entry into the page once, and looks at what is there then. */
async function readThrough(page: Page, count: number): Promise<string[]> {
  const found = new Set<string>();
  for (let position = 1; position <= count; position += 4) {
    await goTo(page, position);
    await until(`what is around #${position} lies still`, async () => {
      const [one, two] = [await layoutOf(page), await layoutOf(page)];
      return one === two && (await page.locator('[data-entries] .blank').count()) === 0;
    });
    for (const each of [...(await alive(page)), ...(await crooked(page))]) found.add(`around #${position}: ${each}`);
  }
  return [...found];
}

const layoutOf = (page: Page): Promise<string> =>
  page.evaluate(
    () =>
      new Promise<string>((resolve) =>
        requestAnimationFrame(() =>
          resolve(
            [...document.querySelectorAll('[data-entries] .row')].map((row) => row.getBoundingClientRect().top).join(),
          ),
        ),
      ),
  );

/** The page is well if it takes an entry and shows it with its place. */
async function answers(page: Page, peer: Peer, text: string): Promise<void> {
  const { positions } = await peer.status();
  await write(page, text);
  await entry(page, positions + 1)
    .getByText(text)
    .waitFor();
}

describe('whatever a log holds, the page only shows it', () => {
  let peer: Peer;
  let count = 0;

  beforeAll(async () => {
    peer = await world.start('Ana');
    await peer.does('create', 'Night \u202elog <img src=x onerror=alert(1)>');
    await importAll(peer, [
      ...MARKUP.map((text) => ({ text })),
      ...TURNED.map((text, at) => ({ text, writer: NAMES[at % NAMES.length] as string })),
      ...NAMES.map((writer) => ({ text: writer, writer })),
    ]);
    count = MARKUP.length + TURNED.length + NAMES.length;
  });

  test('markup, turned letters and names, in every row', async () => {
    const page = await stage.open(peer);
    const deeds = watchOver(page);
    await entry(page, count).waitFor();
    expect(await readThrough(page, count)).toEqual([]);
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await readThrough(page, count)).toEqual([]);
    expect(deeds).toEqual([]);
    expect(await page.title()).toContain('<img src=x onerror=alert(1)>');
  });

  test('markup stands there as it was written', async () => {
    const page = await stage.open(peer);
    await entry(page, count).waitFor();
    for (const [at, text] of MARKUP.entries()) {
      // Autolinks are Markdown's own, and become links or stay text.
      if (!/^<\/?[a-z]+[ >]/.test(text)) continue;
      await goTo(page, at + 1);
      expect(await entry(page, at + 1).innerText()).toContain(text.split(/ {2}|[\n*]/)[0]);
    }
  });

  test('text does not become markup but through the two doors that the page has for it', async () => {
    const page = await stage.open(peer);
    await entry(page, count).waitFor();
    const tried = await page.evaluate(() => {
      const attempt = (what: () => unknown): string => {
        try {
          return String(what());
        } catch (error) {
          return (error as Error).name;
        }
      };
      const { trustedTypes } = window as unknown as {
        trustedTypes: { createPolicy(name: string, rules: object): unknown };
      };
      const node = document.createElement('div');
      return [
        attempt(() => (node.innerHTML = '<img src=x onerror=alert(1)>')),
        attempt(() => node.insertAdjacentHTML('beforeend', '<b>bold</b>')),
        attempt(() => (document.createElement('script').src = '/x.js')),
        attempt(() => document.write('<b>bold</b>')),
        attempt(() => trustedTypes.createPolicy('another', { createHTML: (text: string) => text })),
        attempt(() => trustedTypes.createPolicy('dompurify', { createHTML: (text: string) => text })),
        node.childNodes.length,
      ];
    });
    expect(tried).toEqual([...Array.from({ length: 6 }, () => 'TypeError'), 0]);
    expect(stage.takeComplaints(/Trusted|trusted/)).not.toEqual([]);
    const at = MARKUP.findIndex((text) => text.startsWith('[good]')) + 1;
    await goTo(page, at);
    expect(await entry(page, at).locator('.text a').count()).toBe(3);
  });

  test('a link opens elsewhere, or not at all', async () => {
    const page = await stage.open(peer);
    await page.context().route(/example\.org/, (route) => route.abort());
    await entry(page, count).waitFor();
    const at = MARKUP.findIndex((text) => text.startsWith('[good]')) + 1;
    await goTo(page, at);
    const links = entry(page, at).getByRole('link');
    expect(await links.evaluateAll((all) => all.map((link) => link.getAttribute('href')))).toEqual([
      'https://example.org/a?b=c&d',
      'https://example.org/',
      'mailto:mail@example.org',
    ]);
    const here = page.url();
    const opened = page.waitForEvent('popup');
    await links.first().click();
    const other = await opened;
    expect(await other.evaluate(() => window.opener === null).catch(() => true)).toBe(true);
    await other.close();
    expect(page.url()).toBe(here);
  });

  test('names that nobody has, and titles, are refused by the command line with a reason', async () => {
    for (const args of [
      ['append', '--as', 'x'.repeat(10_000), 'text'],
      ['append', '--as', 'two\nlines', 'text'],
      ['create', 'x'.repeat(10_000)],
      ['create', 'a\u0000b'.replace('\u0000', '\u0007')],
    ]) {
      const { code, error } = await peer.synod(...args);
      expect({ code, error }, `${args}`.slice(0, 60)).toEqual({
        code: expect.toBeOneOf([1, 2]),
        error: expect.stringMatching(/^(TEXT_|USAGE)/),
      });
    }
    expect((await peer.status()).positions).toBe(count);
  });

  test('half characters typed into the page become a sign that stands for them', async () => {
    const page = await stage.open(peer);
    const { positions } = await peer.status();
    await field(page).focus();
    await field(page).evaluate((node) => {
      const area = node as HTMLTextAreaElement;
      area.value = `${String.fromCharCode(0xd800)} half ${String.fromCharCode(0xdc00)} and \0 none\r\nline`;
      area.dispatchEvent(new Event('input', { bubbles: true }));
    });
    await page.keyboard.press('Control+Enter');
    await entry(page, positions + 1)
      .getByText('half')
      .waitFor();
    const [line] = await peer.log('--since', `${positions}`);
    expect(line?.text).toBe('\ufffd half \ufffd and \0 none\nline');
    await until('the field is empty', async () => (await field(page).inputValue()) === '');
    expect([...(await alive(page)), ...(await crooked(page))]).toEqual([]);
  });
});

describe('texts that are hard to read', () => {
  test('Markdown that is all knots: the page shows it and answers', async () => {
    const peer = await world.start('Ben');
    await peer.does('create', 'Knots');
    await importAll(
      peer,
      KNOTS.map((text) => ({ text })),
    );
    const page = await stage.open(peer);
    const deeds = watchOver(page);
    await entry(page, KNOTS.length).waitFor();
    for (let position = KNOTS.length; position >= 1; position--) {
      await goTo(page, position);
      const nodes = await entry(page, position).locator('*').count();
      expect(nodes, `nodes of ${JSON.stringify(KNOTS[position - 1]?.slice(0, 20))}`).toBeLessThan(25_000);
    }
    await page.keyboard.press('n');
    await answers(page, peer, 'still here');
    expect(deeds).toEqual([]);
    expect(await alive(page)).toEqual([]);
  });

  test('entries of a mebibyte, written with the command line and in the page', async () => {
    const peer = await world.start('Cy');
    await peer.does('create', 'Long');
    const letters = ['x', '\n', '[', '🜨'];
    const long = letters.map((letter) => `a${letter.repeat((MEBIBYTE - 4) / Buffer.byteLength(letter))}a`);
    for (const text of long.slice(0, 2)) {
      const { code, err } = await peer.launch(['append', '-'], text).ended;
      expect(code, err).toBe(0);
    }
    await importAll(
      peer,
      long.slice(2).map((text) => ({ text })),
    );
    const page = await stage.open(peer);
    await entry(page, long.length).waitFor();
    await answers(page, peer, 'below all that');
    await page
      .getByRole('button', { name: /^Show all/ })
      .last()
      .click();
    await page.getByRole('button', { name: 'Show less' }).waitFor();
    await answers(page, peer, 'with all of it shown');
    // A megabyte pasted into the page; a letter more is refused with a reason, and stays in the field.
    await field(page).evaluate((node, length) => {
      const area = node as HTMLTextAreaElement;
      area.value = 'y'.repeat(length);
      area.dispatchEvent(new Event('input', { bubbles: true }));
    }, MEBIBYTE + 1);
    await page.keyboard.press('Control+Enter');
    await page
      .getByRole('status')
      .getByText(/over 1 MiB/)
      .first()
      .waitFor();
    expect((await field(page).inputValue()).length).toBe(MEBIBYTE + 1);
    await field(page).fill('short again');
    await field(page).press('Control+Enter');
    await entry(page, long.length + 3)
      .getByText('short again')
      .waitFor();
    expect([...(await alive(page)), ...(await crooked(page))]).toEqual([]);
  });

  test('much that waits for the group is kept, and the page goes on', async () => {
    const [founder, voter] = [await world.start('Dora'), await world.start('Eve')];
    await founder.does('create', 'Alone');
    const [{ ticket }] = (await founder.does('invite', '--role', 'voter')) as [{ ticket: string }];
    await voter.does('join', ticket);
    await untilStatus(founder, 'two vote', ({ quorum, canCommit }) => canCommit && quorum.voters === 2);
    const page = await stage.open(founder);
    await voter.stop();
    await standing(page).getByText('waiting for 1 more').waitFor();
    const service = await founder.service();
    for (let at = 0; at < 10; at++) {
      await service.append(
        { text: `${at} ${'z'.repeat(MEBIBYTE - 10)}`, wait: 'saved', timeoutMs: 60_000 },
        new AbortController().signal,
      );
    }
    await write(page, 'the newest of all');
    await tail(page).getByText('the newest of all').waitFor();
    expect((await founder.status()).pending).toBe(11);
    await tail(page)
      .getByText(/earlier entr.* of yours, kept and not shown here/)
      .waitFor();
    await voter.start();
    await until('all of it is agreed', async () => (await founder.status()).pending === 0);
    await entry(page, 11).getByText('the newest of all').waitFor();
    expect(await agreed(page).count()).toBeGreaterThan(1);
    await append(service, [{ text: 'and on it goes' }]);
    await entry(page, 12).waitFor();
  });
});

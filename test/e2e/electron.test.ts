import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { leaderOf, until, untilStatus } from '../integration/harness.ts';
import {
  aloneAndBack,
  editsAndReload,
  field,
  fromNothingToTwo,
  standing,
  startLog,
  texts,
  threeWindows,
  untilSame,
  untilShown,
  write,
} from './journeys.ts';
import { type ShellPeer, shellsForEach } from './shells.ts';
import { chooseShells } from './shells-choice.ts';
import { STAND_IN_SEND, StandIn } from './shells-stand-in.ts';
import { stageForAll } from './stage.ts';
import type { SenderFrame } from './stand-in-messages.ts';

const shells = chooseShells();
const stage = stageForAll();
const world = shellsForEach(shells, stage);
const place = () => ({ world: world(), stage, outlives: false });

describe(`in ${shells.name}`, () => {
  test('from nothing to two in one log, through the windows alone', () => fromNothingToTwo(place()));

  test('three windows: an entry written in each shows in the same order in all; without its leader the group goes on; back again, it has all', () =>
    threeWindows(place()));

  test('alone, it keeps what is written, says why nothing is agreed, and has it agreed once when the others return', () =>
    aloneAndBack(place()));

  test('edits and removals are seen by the others; a page that is loaded anew in the middle has it all, and its draft', () =>
    editsAndReload(place()));

  test('a page that is loaded anew again and again attaches again, and misses nothing', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    const [mine, other] = [await stage.open(ana), await stage.open(ben)];
    // More often than a window may have lines: those of the pages before are gone.
    for (let round = 0; round < 10; round++) {
      await write(other, `round ${round}`);
      await mine.reload();
      await untilShown(mine, `round ${round}`);
    }
    await write(mine, 'still here');
    await untilShown(other, 'still here');
    expect(await untilSame([mine, other])).toHaveLength(11);
  });

  test('a second start on the same directory ends well, and the first window stays the only one', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    expect(await ana.startAgain()).toBe(0);
    const { shell } = ana;
    if (shell instanceof StandIn) await until('the first window was brought to the front', () => shell.focused === 1);
    await page.getByRole('button', { name: 'Start a log…' }).waitFor();
    expect(page.context().pages()).toHaveLength(1);
    expect(await (await ana.service()).groups({}, new AbortController().signal)).toEqual([]);
  });

  test('quitting ends the program by itself, and another machine leads', async () => {
    const peers = await world().group('Ana', 'Ben', 'Cy');
    const leader = (await leaderOf(peers)) as ShellPeer;
    const page = await stage.open(leader);
    const ended = leader.expectEnd();
    leader.shell.quit();
    expect(await ended).toBe(0);
    expect(existsSync(join(leader.dir, 'endpoint.json'))).toBe(false);
    await until('its window is gone', () => page.isClosed());
    const [other] = peers.filter((peer) => peer !== leader) as [ShellPeer];
    await untilStatus(other, 'another one leads', (status) => status.leader !== null && status.leader !== leader.id);
    await write(await stage.open(other), 'without it');
    await untilShown(await stage.open(other), 'without it');
  });

  test('a closed window ends the program, but on a Mac, where one quits', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    const ended = ana.expectEnd();
    await page.close();
    if (process.platform === 'darwin') ana.shell.quit();
    expect(await ended).toBe(0);
  });

  test('text is copied although the clipboard is refused, from a dialog too, and the focus stays where it was', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    await startLog(page, 'Ward 3');
    const text = 'a text to copy\n\n- with  spaces\n- and lines';
    await write(page, text);
    await untilShown(page, 'a text to copy');
    const refused = await page.evaluate("navigator.clipboard.writeText('x').then(() => false, () => true)");
    expect(refused).toBe(true);

    const focused = page.locator(':focus');
    const paste = async (): Promise<string> => {
      await field(page).fill('');
      await field(page).press('ControlOrMeta+V');
      return field(page).inputValue();
    };
    await page.locator('[data-entries] article').first().hover();
    await page.getByRole('button', { name: 'Copy', exact: true }).click();
    await page.getByText('Text copied.').waitFor();
    expect(await focused.textContent()).toBe('Copy');
    expect(await paste()).toBe(text);

    await page
      .getByRole('button', { name: /^Invite/ })
      .first()
      .click();
    await page.getByRole('button', { name: 'Make a ticket' }).click();
    const ticket = await page.getByLabel('Ticket', { exact: true }).inputValue();
    await page.getByRole('button', { name: 'Copy the ticket' }).click();
    await page.getByText('Ticket copied.').waitFor();
    expect(await focused.textContent()).toBe('Copy the ticket');
    await page.getByRole('button', { name: 'Done' }).click();
    expect(await paste()).toBe(ticket);
  });

  test('the page’s policy holds: nothing is loaded from elsewhere, no script and no style in the text of a page', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    const outcome = await page.evaluate(`(async () => {
      const text = document.createElement('div');
      const attempt = (what) => { try { what(); return 'done'; } catch (error) { return error.name; } };
      const markup = attempt(() => { text.innerHTML = '<b>bold</b>'; });
      // Node by node, as nothing makes markup of a string here.
      const [line, picture] = [document.createElement('p'), document.createElement('img')];
      line.setAttribute('style', 'color: red');
      attempt(() => picture.setAttribute('onerror', 'window.ran = true'));
      picture.src = 'data:,';
      text.append(line, picture);
      const script = document.createElement('script');
      attempt(() => script.append('window.ran = true'));
      document.body.append(text, script);
      const fetched = await fetch('http://127.0.0.1:9/').then(() => true, () => false);
      await text.lastElementChild.decode().catch(() => {});
      return { markup, fetched, ran: 'ran' in window, colour: getComputedStyle(line).color };
    })()`);
    expect(outcome).toEqual({
      markup: 'TypeError',
      fetched: false,
      ran: false,
      colour: expect.not.stringContaining('255, 0, 0'),
    });
    await until('it was complained of', () => stage.takeComplaints(/Content Security Policy/).length > 0);
    stage.takeComplaints(/Content Security Policy|127\.0\.0\.1:9|Trusted/);
  });

  test('the page stays where it is, whatever it is told to show', async () => {
    const ana = await world().start('Ana');
    const page = await stage.open(ana);
    const before = new URL(page.url());
    await page.evaluate("location.href = 'http://example.invalid/'");
    await startLog(page, 'Ward 3');
    await write(page, 'still here');
    await untilShown(page, 'still here');
    expect(new URL(page.url()).origin).toBe(before.origin);
    stage.takeComplaints(/example\.invalid/);
  });
});

/** What only a stand-in's test can do: to speak on the channel as Electron would let nobody speak. */
if (shells.name !== 'Electron') {
  describe(`in ${shells.name}, on the channel`, () => {
    test('a frame in the page is not heard, nor a page of another address', async () => {
      const ana = await world().start('Ana');
      const shell = ana.shell as StandIn;
      const page = await stage.open(ana);
      await startLog(page, 'Ward 3');
      await write(page, 'before');
      await untilShown(page, 'before');

      const request = JSON.stringify({ id: 1, method: 'groups', params: {} });
      const says = (name: string) => [
        ['synod', name, 1, 'open'],
        ['synod', name, 1, 'text', request],
      ];
      // In a frame of the page, which has the page's own origin.
      await page.evaluate(`{
        document.body.append(document.createElement('iframe'));
      }`);
      await until('the frame is there', () => page.frames().length === 2);
      const [, inner] = page.frames();
      await inner?.waitForLoadState();
      await inner?.evaluate(
        async ({ send, all }) => {
          for (const args of all)
            await (globalThis as unknown as Record<string, (args: unknown[]) => unknown>)[send]?.(args);
        },
        { send: STAND_IN_SEND, all: says('inner') },
      );
      const frames: readonly SenderFrame[] = [
        { url: 'synod-app://app/', isTop: false },
        ...['https://example.org/', 'synod-app://other/', 'about:blank', ''].map((url) => ({ url, isTop: true })),
      ];
      for (const [at, frame] of frames.entries()) for (const args of says(`foreign ${at}`)) shell.say(frame, args);
      // Had one of them been heard, the page's own line would be gone, and this would be asked after it was answered.
      await write(page, 'after');
      await untilShown(page, 'after');
      for (const name of ['inner', ...frames.map((_, at) => `foreign ${at}`)]) {
        expect([name, shell.sentTo(name)]).toEqual([name, []]);
      }
      expect(await texts(page)).toEqual(['before', 'after']);
      await standing(page).waitFor();
      expect(await page.getByText(/^Not connected to Synod/).count()).toBe(0);

      // The same from the page itself is heard: so it is not for its form that the rest was not.
      for (const args of says('own')) shell.say({ url: 'synod-app://app/', isTop: true }, args);
      await until('it is answered', () => shell.sentTo('own').length > 0);
      stage.takeComplaints(/./);
    });
  });
}

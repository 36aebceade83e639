import { describe, expect, test } from 'vitest';
import type { PeerService, WatchEvent } from '../../shared/ipc/contract.ts';
import { CHANGED_MAX, PENDING_LINES_MAX } from '../../shared/ipc/contract.ts';
import { never, type Peer, until, worldForEach } from './harness.ts';

const world = worldForEach();

/** What a window would know: it takes every event and keeps the newest of each kind. */
class Window {
  readonly events: WatchEvent[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(service: PeerService, name?: string) {
    this.#done = this.#run(service, name === undefined ? {} : { window: name });
  }

  async #run(service: PeerService, params: { window?: string }): Promise<void> {
    try {
      for await (const event of service.watch(params, this.#abort.signal)) this.events.push(event);
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }

  last<Kind extends WatchEvent['kind']>(kind: Kind): Extract<WatchEvent, { kind: Kind }> | undefined {
    return this.events.findLast((event): event is Extract<WatchEvent, { kind: Kind }> => event.kind === kind);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }
}

const open = async (peer: Peer): Promise<Window> => new Window(await peer.service());

describe('a window that watches', () => {
  test('has all of it at the beginning, whenever that is, and then what changes', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    await ana.does('append', 'one');
    const window = await open(ana);
    await until('the beginning', () => new Set(window.events.map(({ kind }) => kind)).size === 5);
    expect(window.events[0]?.kind).toBe('status');
    expect(window.last('log')).toMatchObject({ positions: 1, changed: [] });
    expect(window.last('pending')).toMatchObject({ count: 0, lines: [] });
    expect(window.last('refused')).toMatchObject({ lines: [] });
    expect(window.last('kept')).toMatchObject({ drafts: [] });

    await ana.does('append', 'two');
    await until('the new entry', () => window.last('log')?.positions === 2);
    expect(window.last('log')?.changed).toEqual([2]);
    await ana.does('edit', '1', 'one, better');
    await until('the edit', () => window.last('log')?.changed?.includes(1));
    expect(window.last('log')?.positions).toBe(2);
    await ana.does('create', 'Lab book');
    await until('the other group', () => window.last('status')?.status.groups.length === 2);
    await window.close();
  });

  test('sees its own words wait, and then get their place', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    const window = await open(ana);
    await ben.stop();
    await until('Ben is missed', () => window.last('status')?.status.groups[0]?.canCommit === false);
    await ana.does('append', '--wait', 'saved', 'alone');
    await until('it waits', () => window.last('pending')?.count === 1);
    expect(window.last('pending')?.lines).toMatchObject([
      { text: 'alone', status: 'pending', change: 'create', of: null },
    ]);
    await ben.start();
    await until('it has its place', () => window.last('pending')?.count === 0);
    expect(window.last('log')?.positions).toBe(1);
    await window.close();
  });

  test('is told what waits about an entry, and who changed it once it is agreed; a command line is told neither', async () => {
    const [ana, ben] = await world().group('Ana', 'Ben');
    for (const text of ['one', 'two', 'three']) await ana.does('append', text);
    await ana.does('remove', '3');
    const window = await open(ana);
    await ben.stop();
    await until('Ben is missed', () => window.last('status')?.status.groups[0]?.canCommit === false);
    for (const [what, ...args] of [
      ['edit', '1', 'one, better'],
      ['remove', '2'],
      ['restore', '3'],
    ] as const) {
      await ana.does(what, '--wait', 'saved', ...args);
    }
    await until('all wait', () => window.last('pending')?.lines.length === 3);
    expect(window.last('pending')?.lines.map(({ change, of }) => [change, of])).toEqual([
      ['edit', 1],
      ['remove', 2],
      ['restore', 3],
    ]);
    const plain = await ana.log('--pending');
    for (const line of plain) expect(Object.keys(line)).not.toEqual(expect.arrayContaining(['change']));
    await ben.start();
    await until('they have their places', () => window.last('pending')?.count === 0);
    await window.close();
    const lines = [];
    for await (const line of (await ana.service()).log({ follow: false, pending: false, marks: true }, never)) {
      if (line.status === 'committed') lines.push(line);
    }
    expect(lines.map(({ changed }) => changed?.change)).toEqual(['edit', 'remove', 'restore']);
    expect(lines[0]?.changed).toMatchObject({ author: ana.id, name: 'Ana' });
    for (const line of await ana.log()) expect(line).not.toHaveProperty('changed');
  });

  test('that does not ask for a while is told together, in bounds', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Log');
    const service = await ana.service();
    const watching = service.watch({}, never)[Symbol.asyncIterator]();
    await watching.next();
    // Far more than the carrier holds for a reader that does not ask.
    const lines = Array.from({ length: 3 * CHANGED_MAX }, (_, n) => `${n}`);
    const { code } = await ana.launch(['append', '--lines', '-'], lines.join('\n')).ended;
    expect(code).toBe(0);
    let positions = 0;
    let named = 0;
    for (let events = 0; positions < lines.length; events++) {
      expect(events).toBeLessThan(500);
      const { value } = (await watching.next()) as { value: WatchEvent };
      if (value.kind === 'log') {
        positions = value.positions;
        named += value.changed?.length ?? 0;
        expect(value.changed?.length ?? 0).toBeLessThanOrEqual(CHANGED_MAX);
      } else if (value.kind === 'pending') expect(value.lines.length).toBeLessThanOrEqual(PENDING_LINES_MAX);
    }
    expect(named).toBeLessThanOrEqual(lines.length);
    await watching.return?.();
  });

  test('what was not taken is shown with its wording and its reason, until it is dismissed', async () => {
    const [ana, ben, cy] = await world().group('Ana', 'Ben', 'Cy');
    const [{ id }] = (await ana.does('append', 'first')) as [{ id: string }];
    await until('Ben has it', async () => (await ben.log()).length === 1);
    await Promise.all([ana.stop(), cy.stop()]);
    await ben.does('edit', '--wait', 'saved', id, 'too late');
    await ben.stop();
    await Promise.all([ana.start(), cy.start()]);
    await ana.does('remove', id);
    await ben.start();
    const again = await open(ben);
    await until('it is refused', () => again.last('refused')?.lines.length === 1);
    const [line] = again.last('refused')?.lines ?? [];
    expect(line).toMatchObject({ text: 'too late', whyCode: 'REFUSED_ENTRY_REMOVED' });
    expect(line?.why).toMatch(/removed by Ana before this edit arrived/);
    expect(line).toMatchObject({ change: 'edit', of: 1 });
    await (await ben.service()).dismiss({ key: line?.key ?? '' }, never);
    await until('it is dismissed', () => again.last('refused')?.lines.length === 0);
    await again.close();
    await ben.stop();
    await ben.start();
    const later = await open(ben);
    await until('the beginning', () => later.last('refused') !== undefined);
    expect(later.last('refused')?.lines).toEqual([]);
    await later.close();
  });
});

describe('a draft', () => {
  test('is kept by the peer, for each group and each entry, and outlives it', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    const service = await ana.service();
    expect(await service.draft({ about: 'new' }, never)).toEqual({ text: '' });
    await service.saveDraft({ about: 'new', text: 'Bed 4: para' }, never);
    await service.saveDraft({ about: 'e7k', text: 'another' }, never);
    await ana.stop();
    await ana.start();
    const later = await ana.service();
    expect(await later.draft({ about: 'new' }, never)).toEqual({ text: 'Bed 4: para' });
    await later.saveDraft({ about: 'new', text: '' }, never);
    expect(await later.draft({ about: 'new' }, never)).toEqual({ text: '' });
    expect(await later.draft({ about: 'e7k' }, never)).toEqual({ text: 'another' });
  });

  test('is each window’s own while it is open; one that is left is told of, and what can be done with it', async () => {
    const ana = await world().start('Ana');
    await ana.does('create', 'Ward 3');
    const [{ id }] = (await ana.does('append', 'one')) as [{ id: string }];
    const service = await ana.service();
    const [first, second] = [new Window(service, 'first'), new Window(service, 'second')];
    await until('both are here', () => first.last('kept') && second.last('kept'));
    await service.saveDraft({ about: 'new', window: 'first', text: 'tab one' }, never);
    await service.saveDraft({ about: 'new', window: 'second', text: 'tab two' }, never);
    await service.saveDraft({ about: id, window: 'second', text: 'one, better' }, never);
    expect(await service.draft({ about: 'new', window: 'first' }, never)).toEqual({ text: 'tab one' });
    await service.saveDraft({ about: 'new', window: 'first', text: '' }, never);
    expect(await service.draft({ about: 'new', window: 'first' }, never)).toEqual({ text: '' });
    await until('its own edit', () => second.last('kept')?.drafts.length === 1);
    expect(second.last('kept')?.drafts).toMatchObject([{ about: id, kind: 'edit', of: 1, text: 'one, better' }]);
    expect(first.last('kept')?.drafts).toEqual([]);

    await ana.does('remove', '1');
    // Who did it is known once the removal is agreed.
    const why = 'The entry was removed by Ana before this edit arrived. Your wording is kept here.';
    await until('it can not be edited', () => second.last('kept')?.drafts[0]?.why === why);
    expect(second.last('kept')?.drafts[0]?.kind).toBe('gone');
    await second.close();
    await until('both are left', () => first.last('kept')?.drafts.length === 2);
    expect(first.last('kept')?.drafts.map(({ kind }) => kind)).toEqual(['new', 'gone']);
    expect(await service.draft({ about: 'new', window: 'first' }, never)).toEqual({ text: 'tab two' });
    await until('it stands in a field', () => first.last('kept')?.drafts.length === 1);
    await ana.does('restore', '1');
    await until('it can be edited', () => first.last('kept')?.drafts[0]?.kind === 'edit');
    await first.close();
  });
});

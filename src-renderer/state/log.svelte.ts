import type {
  CommittedLine,
  GroupStatus,
  KeptDraft,
  LogLine,
  PeerService,
  PendingLine,
  RefusedLine,
  ShownLine,
  WatchEvent,
} from '../../shared/ipc/contract.ts';
import { comingWords } from '../words/progress.ts';
import { isFetching, readOnlyWords } from '../words/writing.ts';
import { Draft } from './draft.svelte.ts';
import { Editing, isInField, readLine } from './editing.svelte.ts';
import { isCancelled, isLost, wordsOf } from './failure.ts';
import { notices } from './notices.svelte.ts';
import { PAGE_SIZE, PageCache } from './pages.ts';
import { Sending } from './sending.ts';
import { Tail } from './tail.ts';

/** Pages kept of each log: far more than a screen, far less than a log. */
const PAGES_MAX = 24;
/** A page that could not be read is tried again after this. Milliseconds. */
const AGAIN_MS = 2_000;
/** How long a request may take that only needs this machine. Milliseconds. */
const LOCAL_MS = 20_000;

/** One log as this window shows it: only the entries around what is on the screen, and all that is this person's own. */
export class LogState {
  readonly group: string;
  readonly #service: () => PeerService | null;
  readonly #window: string;
  readonly #cache = new PageCache<ShownLine>(PAGES_MAX, isSameLine);
  /** Counts what came into the cache, so that what reads from it is drawn again. */
  #version = $state(0);
  readonly #tail = new Tail();
  /** What is on the screen, and how long the log was when that was said. */
  #shown = { from: 1, to: 0, positions: -1 };
  #ending = new AbortController();

  status = $state.raw<GroupStatus | null>(null);
  positions = $state(0);
  pendingCount = $state(0);
  readonly pending = $derived.by<readonly PendingLine[]>(() => {
    this.#version;
    const ids = new Set(Array.from(this.#cache.lines(), ({ id }) => id));
    return this.#tail.shown({ has: (id) => ids.has(id), line: (position) => this.#cache.line(position) });
  });
  refused = $state.raw<readonly RefusedLine[]>([]);
  #kept = $state.raw<readonly KeptDraft[]>([]);
  /** What was written here and not sent, and stands in no field. */
  readonly kept = $derived(this.#kept.filter((draft) => !isInField(draft, this.draft, this.editing)));
  /** The entry that the keyboard is on; null: the last one. */
  active = $state<number | null>(null);
  /** Where somebody asked to be brought; another object each time. */
  target = $state.raw<{ readonly position: number } | null>(null);
  editing = $state.raw<Editing | null>(null);
  /** Why the entry that is edited can't be edited any more; null where it can. */
  readonly gone = $derived(this.editing?.goneWords(this.pending) ?? null);
  isSending = $state(false);
  #onItsWay = '';
  #isNextWanted = false;
  /** What it was called when it was opened here. */
  readonly #titleFirst: string;
  readonly draft: Draft;
  readonly #sending = new Sending();
  readonly #posting = new Sending();

  constructor(service: () => PeerService | null, window: string, group: string, title = '') {
    this.#service = service;
    this.#window = window;
    this.group = group;
    this.#titleFirst = title;
    this.draft = new Draft(service, { group, window, about: 'new' });
  }

  get title(): string {
    return this.status?.title || this.#titleFirst;
  }

  /** Why nothing can be written here; null where it can. */
  get readOnly(): string | null {
    return this.status && readOnlyWords(this.status);
  }

  get canWrite(): boolean {
    return this.readOnly === null;
  }

  get isFetching(): boolean {
    return this.status !== null && isFetching(this.status);
  }

  /** What of a log that is being fetched can be read already, in a sentence. */
  get coming(): string | null {
    return this.status && comingWords(this.status);
  }

  /** Entries that wait. The peer tells the newest, and how many there are; some of what is shown may have left since. */
  get waiting(): number {
    return Math.max(this.pending.length, this.pendingCount);
  }

  /** Undefined while it is being read. */
  line(position: number): ShownLine | undefined {
    this.#version;
    return this.#cache.line(position);
  }

  /** Another connection: whatever was known may have changed. */
  attach(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
    this.#cache.changed(this.positions, null);
    void this.draft.load();
    void this.editing?.draft.load();
    this.#lookAtEdited();
    this.#version += 1;
  }

  detach(): void {
    this.#ending.abort();
  }

  take(event: Exclude<WatchEvent, { kind: 'status' | 'gone' }>): void {
    if (event.kind === 'log') {
      this.#cache.changed(event.positions, event.changed);
      this.positions = event.positions;
      this.#version += 1;
      this.#readWanted();
      if (this.editing && (event.changed?.includes(this.editing.position) ?? true)) this.#lookAtEdited();
    } else if (event.kind === 'pending') {
      this.pendingCount = event.count;
      this.#tail.take(event.lines, { isCut: event.count > event.lines.length, isRead: this.#isRead() });
      this.editing?.pendingChanged();
      this.#version += 1;
    } else if (event.kind === 'refused') {
      this.refused = event.lines;
    } else {
      this.#kept = event.drafts;
      // It could not be asked for, if the store was closed for a moment.
      if (!this.draft.isLoaded) void this.draft.load();
    }
  }

  /** How the group stands now. */
  stand(status: GroupStatus): void {
    this.status = status;
  }

  /** These positions are on the screen, or nearly. */
  show(from: number, to: number): void {
    this.#shown = { from, to, positions: this.positions };
    this.#readWanted();
    this.#noteRead();
  }

  /** What is on the screen is as it is now. A log that has grown since then shows something else in a moment. */
  #isRead(): boolean {
    const { from, to, positions } = this.#shown;
    return positions === this.positions && this.#cache.isRead(from, to);
  }

  #noteRead(): void {
    if (this.#isRead()) this.#tail.read();
    this.#version += 1;
  }

  #lookAtEdited(): void {
    const [service, { editing }] = [this.#service(), this];
    if (!service || !editing) return;
    editing.look(service, this.group, this.#own()).catch((error: unknown) => {
      if (isCancelled(error) || isLost(error) || this.editing !== editing) return;
      setTimeout(() => this.#lookAtEdited(), AGAIN_MS);
    });
  }

  jump(position: number): void {
    const within = Math.max(1, Math.min(position, this.positions));
    this.active = within;
    this.target = { position: within };
  }

  #readWanted(): void {
    const service = this.#service();
    if (!service) return;
    for (const page of this.#cache.wanted(this.#shown.from, this.#shown.to)) void this.#read(service, page);
  }

  async #read(service: PeerService, page: number): Promise<void> {
    const { signal } = this.#ending;
    this.#cache.begin(page);
    const lines: ShownLine[] = [];
    const common = { group: this.group, limit: PAGE_SIZE, follow: false, pending: false, marks: true };
    const after = page === 0 ? { afterSlot: 0 } : { since: page * PAGE_SIZE };
    try {
      for await (const line of service.log({ ...common, ...after }, signal)) {
        if (line.status !== 'pending') lines.push(line);
      }
      this.#cache.put(page, lines);
      // The log may have grown while this was read.
      this.#readWanted();
      this.#noteRead();
    } catch (error) {
      this.#cache.failed(page);
      if (!isCancelled(error) && !isLost(error)) setTimeout(() => this.#readWanted(), AGAIN_MS);
    }
  }

  // Writing

  /** Sends what stands in the composer. The text stays there until the peer has it on its disk. */
  async send(): Promise<void> {
    const { editing } = this;
    const draft = editing?.draft ?? this.draft;
    const text = draft.text.toWellFormed();
    if (text.trim() === '' || this.gone !== null) return;
    if (this.isSending) {
      // Pressed again while the one before is on its way to the disk: it goes next.
      if (text !== this.#onItsWay) this.#isNextWanted = true;
      return;
    }
    if (editing && text === editing.before) return this.stopEditing();
    this.isSending = true;
    this.#onItsWay = text;
    const isWritten = await this.#ask(
      (service, common) =>
        editing
          ? service.edit({ ...common, entry: editing.id, text }, this.#own())
          : service.append({ ...common, text, key: this.#sending.keyOf(text) }, this.#own()),
      (error) => editing !== null && editing === this.editing && editing.refused(error),
    );
    if (!isWritten) this.#lookAtEdited();
    this.isSending = false;
    if (!isWritten) {
      this.#isNextWanted = false;
      return;
    }
    if (editing) this.stopEditing();
    else {
      this.#sending.done();
      // What was typed while it was on its way stays.
      if (draft.text.toWellFormed() === text) draft.clear();
    }
    if (!this.#isNextWanted) return;
    this.#isNextWanted = false;
    await this.send();
  }

  startEditing(line: ShownLine): void {
    const { text, id } = line;
    if (text === null || line.status === 'unverified' || !this.canWrite || this.editing?.id === id) return;
    void this.editing?.draft.save();
    const draft = new Draft(this.#service, { group: this.group, window: this.#window, about: id }, text);
    void draft.load();
    this.editing = new Editing(line, text, draft);
  }

  /** The wording is sent, or not wanted. */
  stopEditing(): void {
    const { editing } = this;
    if (!editing) return;
    this.editing = null;
    editing.draft.clear();
    // The peer tells so in a moment; until then it would be shown once more.
    this.#kept = this.#kept.filter(({ about }) => about !== editing.id);
  }

  /** Makes room for something else; what was worded stays with the peer. @returns why that is not possible, for people; null where it is */
  async leaveEditing(): Promise<string | null> {
    const { editing } = this;
    const problem = await editing?.draft.save();
    if (problem) return problem;
    if (this.editing === editing) this.editing = null;
    return null;
  }

  /** Of an entry that can't be edited any more. */
  async postEdited(): Promise<boolean> {
    const { editing } = this;
    if (!editing) return false;
    const isPosted = await this.#post(editing.id, editing.draft.text);
    if (isPosted && this.editing === editing) this.stopEditing();
    return isPosted;
  }

  async postKept(kept: KeptDraft): Promise<void> {
    if (await this.#post(`${kept.about} ${kept.window}`, kept.text)) await this.dismissKept(kept);
  }

  dismissKept({ about, window }: KeptDraft): Promise<boolean> {
    const whose = window === null ? {} : { window };
    return this.#ask((service, { group }) => service.saveDraft({ group, about, ...whose, text: '' }, this.#own()));
  }

  /** Brings a wording back into the field, where there is room for it. */
  async goOn(kept: KeptDraft): Promise<void> {
    if (kept.kind === 'new') {
      if (this.draft.text.trim() !== '') return;
      this.draft.text = kept.text;
      const problem = await this.draft.save();
      if (problem === null) await this.dismissKept(kept);
    } else if (kept.of !== null) {
      const { of } = kept;
      let line: CommittedLine | null = null;
      await this.#ask(async (service, { group }) => {
        line = await readLine(service, group, of, this.#own());
      });
      if (line) this.startEditing(line);
    }
  }

  /** The same wording of the same place is posted once, however often the button is pressed. */
  async #post(from: string, text: string): Promise<boolean> {
    const wellFormed = text.toWellFormed();
    const key = this.#posting.keyOf(`${from} ${wellFormed}`);
    const isPosted = await this.#ask((service, common) =>
      service.append({ ...common, text: wellFormed, key }, this.#own()),
    );
    if (isPosted) this.#posting.done();
    return isPosted;
  }

  remove(line: LogLine): Promise<boolean> {
    return this.#ask((service, common) => service.remove({ ...common, entry: line.id }, this.#own()));
  }

  restore(line: LogLine, revision?: number): Promise<boolean> {
    const which = revision === undefined ? {} : { revision };
    return this.#ask((service, common) => service.restore({ ...common, entry: line.id, ...which }, this.#own()));
  }

  async postAsNew({ key, text }: RefusedLine): Promise<void> {
    if (text === null) return;
    // The same refused line is posted once, however often the button is pressed.
    const isPosted = await this.#ask((service, common) =>
      service.append({ ...common, text, key: `again-${key}` }, this.#own()),
    );
    if (isPosted) await this.dismiss(key);
  }

  dismiss(key: string): Promise<boolean> {
    return this.#ask((service, { group }) => service.dismiss({ group, key }, this.#own()));
  }

  /** Asks the peer for something that this machine alone can do, and says what went wrong. */
  async #ask(
    ask: (
      service: PeerService,
      common: { readonly group: string; readonly wait: 'saved'; readonly timeoutMs: number },
    ) => Promise<unknown>,
    isSaid: (error: unknown) => boolean = () => false,
  ): Promise<boolean> {
    const service = this.#service();
    if (!service) {
      notices.say(
        'Not connected to Synod on this machine. Your text is kept here; send it when the connection is back.',
        'wrong',
      );
      return false;
    }
    try {
      await ask(service, { group: this.group, wait: 'saved', timeoutMs: LOCAL_MS });
      return true;
    } catch (error) {
      if (!isSaid(error)) notices.say(wordsOf(error), 'wrong');
      return false;
    }
  }

  #own(): AbortSignal {
    return this.#ending.signal;
  }
}

function isSameLine(a: ShownLine, b: ShownLine): boolean {
  return (
    a.id === b.id &&
    a.status === b.status &&
    a.revision === b.revision &&
    a.removed === b.removed &&
    a.text === b.text &&
    a.name === b.name &&
    a.clock === b.clock &&
    a.overlap === b.overlap &&
    a.changed?.name === b.changed?.name
  );
}

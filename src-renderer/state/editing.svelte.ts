import type { CommittedLine, KeptDraft, PeerService, PendingLine } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { goneWords } from '../words/entry.ts';
import type { Draft } from './draft.svelte.ts';

type Gone = 'removed' | 'unknown';

/** An entry that is being edited in the place where one writes. */
export class Editing {
  readonly id: string;
  readonly position: number;
  readonly before: string;
  readonly draft: Draft;
  /** The entry as it is agreed now. */
  #line = $state.raw<CommittedLine>() as CommittedLine;
  /** What the peer said when this edit was sent, until news tell more. */
  #told = $state<Gone | null>(null);

  constructor(line: CommittedLine, before: string, draft: Draft) {
    this.id = line.id;
    this.position = line.position;
    this.#line = line;
    this.before = before;
    this.draft = draft;
  }

  /** Why an edit can't be sent now, in a sentence; null where it can. @param pending what waits here */
  goneWords(pending: readonly PendingLine[]): string | null {
    const waiting = pending.find(({ id }) => id === this.id);
    if ((waiting ?? this.#line).removed) return goneWords(this.position, waiting ?? this.#line.changed ?? null);
    return this.#told === null ? null : goneWords(this.position, null, this.#told === 'unknown');
  }

  /** @returns false where the refusal is about something else than the entry */
  refused(error: unknown): boolean {
    const code = error instanceof PeerError ? error.code : null;
    if (code !== 'REFUSED_ENTRY_REMOVED' && code !== 'ENTRY_NOT_FOUND') return false;
    this.#told = code === 'ENTRY_NOT_FOUND' ? 'unknown' : 'removed';
    return true;
  }

  /** What waits on this machine is another now. */
  pendingChanged(): void {
    this.#told = null;
  }

  /** Reads the entry again. @throws as the peer does */
  async look(service: PeerService, group: string, signal: AbortSignal): Promise<void> {
    const line = await readLine(service, group, this.position, signal);
    if (line === null) return;
    this.#line = line;
    this.#told = null;
  }
}

export async function readLine(
  service: PeerService,
  group: string,
  position: number,
  signal: AbortSignal,
): Promise<CommittedLine | null> {
  const where = { group, since: position - 1, limit: 1, follow: false, pending: false, marks: true };
  for await (const line of service.log(where, signal)) if (line.status === 'committed') return line;
  return null;
}

/** A draft that this window shows in its field is not shown a second time below the log. */
export const isInField = (kept: KeptDraft, own: Draft, editing: Editing | null): boolean =>
  kept.kind === 'new' ? !own.isLoaded || kept.text === own.text : kept.about === editing?.id;

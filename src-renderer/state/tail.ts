import type { PendingLine, ShownLine } from '../../shared/ipc/contract.ts';

/** What is asked of the agreed log, as far as it was read. */
export interface Agreed {
  has(id: string): boolean;
  line(position: number): ShownLine | undefined;
}

/**
 * What is written and not agreed yet, as it is shown. That a line is pending no more, and that it is agreed, are told and read at different moments: in
 * between it must neither be gone nor stand there twice.
 */
export class Tail {
  #lines: readonly PendingLine[] = [];
  /** Pending no more, and shown until what became of them was read. */
  #leaving: readonly PendingLine[] = [];

  /**
   * @param isCut there are more, which go before these and are not told: what left may be one of them
   * @param isRead all that is on the screen is as it is now, so what left has been taken in already
   */
  take(lines: readonly PendingLine[], { isCut, isRead }: { readonly isCut: boolean; readonly isRead: boolean }): void {
    const ids = new Set(lines.map(({ id }) => id));
    const left = isCut || isRead ? [] : [...this.#leaving, ...this.#lines].filter(({ id }) => !ids.has(id));
    this.#leaving = left;
    this.#lines = lines;
  }

  /** All that is on the screen was read since the last news. */
  read(): void {
    this.#leaving = [];
  }

  shown(agreed: Agreed): readonly PendingLine[] {
    return [...this.#leaving, ...this.#lines].filter((line) => !isAgreed(line, agreed));
  }
}

/** The agreed log shows it already. */
function isAgreed(line: PendingLine, agreed: Agreed): boolean {
  if (line.change === 'create') return agreed.has(line.id);
  const changed = line.of == null ? null : agreed.line(line.of)?.changed;
  return changed != null && changed.author === line.author && changed.time === line.time;
}

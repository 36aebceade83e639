import { assert } from '../base/assert.ts';
import { toHex } from '../base/bytes.ts';
import type { EntryId } from '../base/ids.ts';
import { present } from '../base/kv.ts';
import {
  type Body,
  type DocumentReader,
  isRefused,
  type Refused,
  type SingleBody,
  tagOf,
  textProblem,
} from '../document/index.ts';
import { agreedText, editBody, rootTextOf } from './edits.ts';
import {
  baseOf,
  type Doomed,
  type Item,
  type Pending,
  type Settled,
  sameBase,
  type Tip,
  type Written,
} from './items.ts';
import { type Merged, mergeTexts } from './merge.ts';
import type { Base } from './rows.ts';
import type { SignedRuns } from './signed-runs.ts';
import type { Fate, Unsettled } from './unsettled.ts';
import { problemOf, writtenOf } from './wishes.ts';

export interface EditWish {
  readonly entry: EntryId;
  readonly text: string;
  /** The revision that the text was made on; without it, the one that is current here, own pending ones included. */
  readonly base?: Base;
}

/** An own edit that another command stands for: an editor may still be open on it. */
interface Superseded {
  readonly text: string;
  readonly rootText: string;
  readonly by: Base;
}
const SUPERSEDED_KEPT = 64;

/** Whole new texts of entries, merged where they were made on another revision than the current one, and merged anew where that changed on their way. */
export class Editing {
  readonly #own: Unsettled;
  readonly #runs: SignedRuns;
  readonly #superseded = new Map<string, Superseded>();

  constructor(own: Unsettled, runs: SignedRuns) {
    this.#own = own;
    this.#runs = runs;
  }

  /** @param settled takes what was settled by that */
  edit(reader: DocumentReader, wish: EditWish, written: Written, fate: Fate, settled: Settled[]): Pending | Refused {
    const problem = textProblem(wish.text);
    if (problem) return { refused: problem, detail: 'the text of an edit' };
    // What was current before own edits that came too late are put on top of it: the text was made on that.
    const base = wish.base ?? this.#own.walk(reader, wish.entry).tip;
    this.heal(reader, wish.entry, [], settled);
    const { tip } = this.#own.walk(reader, wish.entry);
    if (!tip || !base) return { refused: 'NO_SUCH_ENTRY', detail: wish.entry };
    if (tip.removed) return { refused: 'ENTRY_REMOVED', detail: wish.entry };
    const merged = this.#mergeOnto(reader, tip, { ...wish, base });
    const tooLong = textProblem(merged.text);
    if (tooLong) return { refused: tooLong, detail: 'the text of an edit, merged' };
    return this.#own.append(editBody(wish.entry, tip, merged), written, { ...fate, root: tip.agreed });
  }

  /**
   * Puts merged successors in the place of own edits that can't take effect: those just refused, and those that were made on
   * them or on what is past. Each is merged from the agreed text that its line of edits began with, so that a wording which the
   * author replaced does not come back, and all that the others wrote is in.
   * @param settled takes those whose text is there already
   * @returns those of the refused that can't be merged, and why
   */
  heal(reader: DocumentReader, entry: EntryId, refused: readonly Doomed[], settled: Settled[]): [Item, Refused][] {
    const { tip, doomed } = this.#own.walk(reader, entry);
    if (!tip || tip.removed) {
      const why: Refused = { refused: 'ENTRY_REMOVED', detail: 'removed before this edit arrived' };
      return refused.map(({ item }) => [item, why]);
    }
    const roots = new Map<string, string>();
    const lost: [Item, Refused][] = [];
    let base: Base = tip;
    for (const each of [...refused, ...doomed]) {
      const { item, body } = each;
      const rootText = roots.get(toHex(body.baseTag)) ?? rootTextOf(reader, each);
      const ownTag = toHex(tagOf(item.command.hash, null));
      roots.set(ownTag, rootText);
      const merged = mergeTexts(rootText, body.text, tip.text ?? '');
      const waits = this.#own.get(item.command.seq) !== undefined;
      const problem = textProblem(merged.text);
      if (problem) {
        if (!waits) lost.push([item, { refused: problem, detail: 'the text, merged' }]);
        continue;
      }
      if (merged.text === tip.text && tip.agreed && sameBase(base, tip.agreed)) {
        settled.push({ handle: item.handle, seq: item.command.seq, verdict: { took: [took(reader, entry)] } });
      } else {
        const next = editBody(entry, base, { text: merged.text, overlap: merged.overlap || body.overlap });
        const made = this.#own.append(next, writtenOf(item), {
          handle: item.handle,
          quiet: item.quiet,
          root: tip.agreed,
          supersedes: item.command.seq,
        });
        assert(!isRefused(made), 'a merged edit can be sent', made);
        base = { revision: base.revision + 1, tag: tagOf(this.#own.lastHash, null) };
        this.#remember(ownTag, { text: body.text, rootText, by: base });
      }
      if (waits) this.#own.replace(item.command.seq);
      this.#runs.hold();
    }
    return lost;
  }

  /** A bundle whose edit came too late is sent again as a whole, with its edits merged. */
  again(reader: DocumentReader, item: Item, settled: Settled[]): Refused | null {
    assert(item.body.kind === 'bundle', 'a bundle', item.body.kind);
    const bodies: SingleBody[] = [];
    for (const body of item.body.bodies) {
      if (body.kind !== 'edit') {
        bodies.push(body);
        continue;
      }
      this.heal(reader, body.entry, [], settled);
      const { tip } = this.#own.walk(reader, body.entry);
      if (!tip || tip.removed) return { refused: 'ENTRY_REMOVED', detail: body.entry };
      const rootText = rootTextOf(reader, { item, body });
      const merged = sameBase(tip, baseOf(body)) ? body : mergeTexts(rootText, body.text, tip.text ?? '');
      bodies.push(editBody(body.entry, tip, { text: merged.text, overlap: merged.overlap || body.overlap }));
    }
    const body: Body = { kind: 'bundle', bodies };
    const fate: Fate = { handle: item.handle, quiet: item.quiet, root: item.root, supersedes: item.command.seq };
    const made = problemOf(body) ?? this.#own.append(body, writtenOf(item), fate);
    if (isRefused(made)) return made;
    this.#runs.hold();
    return null;
  }

  /** All commands are signed again: what superseded what is over. */
  forget(): void {
    this.#superseded.clear();
  }

  #mergeOnto(reader: DocumentReader, tip: Tip, { entry, text, base }: Required<EditWish>): Merged {
    if (sameBase(base, tip)) return { text, overlap: false };
    const superseded = this.#superseded.get(toHex(base.tag));
    if (superseded && sameBase(superseded.by, tip) && tip.agreed) {
      // Made on an own wording that was merged since. It holds that wording already, so it takes its place in the merge.
      return mergeTexts(superseded.rootText, text, reader.textOf(entry, tip.agreed.revision) ?? '');
    }
    const baseText = superseded?.text ?? agreedText(reader, entry, base) ?? this.#own.textOf(entry, base);
    return mergeTexts(baseText ?? '', text, tip.text ?? '');
  }

  #remember(tag: string, superseded: Superseded): void {
    this.#superseded.set(tag, superseded);
    for (const oldest of this.#superseded.keys()) {
      if (this.#superseded.size <= SUPERSEDED_KEPT) break;
      this.#superseded.delete(oldest);
    }
  }
}

function took(reader: DocumentReader, id: EntryId) {
  const entry = present(reader.entry(id), id);
  const { slot } = reader.revisionOf(entry, entry.revision);
  return { entry: id, position: entry.position, slot, revision: entry.revision };
}

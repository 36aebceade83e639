import type { LogLine } from '../../shared/ipc/contract.ts';
import type { VoteChange } from '../words/votes.ts';
import type { LogState } from './log.svelte.ts';

/** The dialog that is open; there is at most one. */
export type Dialog =
  | { readonly kind: 'create' }
  | { readonly kind: 'join' }
  | { readonly kind: 'settings' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'why'; readonly log: LogState }
  | { readonly kind: 'jump'; readonly log: LogState }
  | { readonly kind: 'invite'; readonly log: LogState }
  | { readonly kind: 'member'; readonly log: LogState; readonly peer: string; readonly isSelf: boolean }
  | { readonly kind: 'change'; readonly log: LogState; readonly change: VoteChange; readonly peers: readonly string[] }
  | { readonly kind: 'remove'; readonly log: LogState; readonly line: LogLine }
  | { readonly kind: 'revisions'; readonly log: LogState; readonly line: LogLine };

class DialogState {
  open = $state<Dialog | null>(null);

  show(dialog: Dialog): void {
    this.open = dialog;
  }

  close(): void {
    this.open = null;
  }
}

export const dialogs = new DialogState();

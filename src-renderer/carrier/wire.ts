import type { Carrier } from '../../shared/ipc/client.ts';

/** A carrier that was opened, and can be let go. */
export interface Wire extends Carrier {
  close(): void;
}

/** What a wire tells its owner. After `ended` it tells nothing more. */
export interface WireEvents {
  opened(): void;
  text(text: string): void;
  ended(): void;
}

/** Opens one wire to the peer. It tells `ended` for a wire that can't be opened, too. */
export type OpenWire = (events: WireEvents) => Wire;

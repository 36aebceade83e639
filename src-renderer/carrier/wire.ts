import type { Carrier } from '../../shared/ipc/client.ts';

/** A carrier that was opened, and can be let go. */
export interface Wire extends Carrier {
  close(): void;
}

/** What a wire tells its owner. After `ended` or `refused` it tells nothing more. */
export interface WireEvents {
  opened(): void;
  text(text: string): void;
  ended(): void;
  /** The peer is there and does not let this page in, so trying again is of no use. Instead of `ended`. */
  refused(): void;
}

/** Opens one wire to the peer. It tells `ended` for a wire that can't be opened, too. */
export type OpenWire = (events: WireEvents) => Wire;

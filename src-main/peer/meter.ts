import type { GroupId, PeerId } from '../../shared/base/ids.ts';
import type { Change } from '../../shared/document/index.ts';
import type { TurnWrite } from '../../shared/driver/driver.ts';
import type { Replica } from '../../shared/replica/replica.ts';

/** Told of what passes in a group and leaves no trace in its state. Called in the middle of a turn: it must neither wait nor throw. */
export interface GroupMeter {
  /** The store was opened, or opened again. */
  opened(replica: Replica): void;
  /** A turn is on its way to the disk; then its batch and its mark are there, in any order; then it may be spoken of. */
  writing(write: Pick<TurnWrite, 'promise' | 'lastOwnSeq'>): void;
  batchWritten(): void;
  markWritten(): void;
  written(): void;
  /** A turn applied something. */
  applied(replica: Replica, changes: readonly Change[]): void;
  leader(leader: PeerId | null): void;
  /** A frame to a member that is here was not taken, as too much waits for it. */
  dropped(): void;
  /** Something that came in or was read is wrong. @param code of a closed list */
  problem(code: string): void;
}

export interface Meter {
  of(group: GroupId): GroupMeter;
}

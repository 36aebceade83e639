import type { GroupStatus } from '../../shared/ipc/contract.ts';
import type { Preview } from '../../shared/replica/preview.ts';
import type { Replica } from '../../shared/replica/replica.ts';

type Standing = Pick<Replica, 'preview' | 'reader'>;

/** A snapshot on its way, where it has more entries than are applied. */
export function previewOf({ preview, reader }: Standing): Preview | null {
  return preview !== null && preview.positions > reader.positions() ? preview : null;
}

/** How many entries there are to show: the agreed ones, and those of a snapshot on its way, which may have holes. */
export const shownPositions = (replica: Standing): number =>
  previewOf(replica)?.positions ?? replica.reader.positions();

/** Nothing where no snapshot is on its way. */
export function previewStatus(replica: Standing): Pick<GroupStatus, 'preview'> {
  const preview = previewOf(replica);
  if (preview === null) return {};
  const positions = replica.reader.positions();
  const here = positions + preview.countAfter(positions);
  return { preview: { slot: preview.slot, positions: preview.positions, here } };
}

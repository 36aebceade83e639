import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';

/**
 * Lets LevelDB gather what tables and write-ahead files of a database that can't be opened still hold. What comes of it may lack records and may hold old
 * ones, so the store counts as damaged from then on.
 */
export async function repairLevelStore(dir: string): Promise<void> {
  await ClassicLevel.repair(join(dir, 'db'));
}

import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { StoreError } from '../../shared/driver/store.ts';
import { innermost } from './errors.ts';

/**
 * Lets LevelDB gather what tables and write-ahead files of a database that can't be opened still hold. What comes of it may lack records and may hold old
 * ones, so the store counts as damaged from then on.
 * @throws StoreError `CORRUPT` where there is nothing to gather
 */
export async function repairLevelStore(dir: string): Promise<void> {
  try {
    await ClassicLevel.repair(join(dir, 'db'));
  } catch (error) {
    throw new StoreError('CORRUPT', `the database can't be repaired: ${innermost(error).message}`, { cause: error });
  }
}

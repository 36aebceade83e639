import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { StoreError } from '../../shared/driver/store.ts';
import { innermost } from './errors.ts';
import { syncDirectory } from './files.ts';
import { levelError } from './level-errors.ts';
import { brokenTables, salvageTable, setTablesAside } from './tables.ts';

/**
 * Lets LevelDB gather what tables and write-ahead files of a database that can't be opened still hold. What comes of it may lack records and may hold old
 * ones, so the store counts as damaged from then on. Tables that are not whole are set aside first, as LevelDB would end the process over some of them; those of
 * their blocks that are whole go in again.
 * @throws StoreError `CORRUPT` where there is nothing to gather, `DISK_FULL`
 */
export async function repairLevelStore(dir: string): Promise<void> {
  const location = join(dir, 'db');
  const broken = await brokenTables(location).catch(() => []); // where there is no database, LevelDB says so
  if (broken.length > 0) {
    const aside = join(dir, 'aside', 'tables');
    await setTablesAside(location, aside, broken);
    for (const name of broken) await salvageTable(join(aside, name), join(location, name));
    await syncDirectory(location);
  }
  try {
    await ClassicLevel.repair(location);
  } catch (error) {
    throw new StoreError('CORRUPT', `the database can't be repaired: ${innermost(error).message}`, { cause: error });
  }
  // It leaves all tables on one level, where reading one key takes what the table with the highest number says: that may be an older record.
  try {
    const db = new ClassicLevel(location);
    await db.open({ createIfMissing: false });
    await db.compactRange('', '\x7f').finally(() => db.close());
  } catch (error) {
    throw await levelError(error, dir);
  }
}

// Started by level.test.ts: goes on with the journal of the store in argv[2] and says each turn's number once it is durable, until it is killed.
import { Journal } from '../../shared/driver/journal-store.ts';
import { openLevelStore } from '../../src-main/storage/level-store.ts';
import { initOf, turnOf } from './turns.ts';

const port = await openLevelStore(process.argv[2] ?? '', { create: false });
const { journal } = await Journal.open(port, initOf(port));
for (;;) {
  await journal.write(turnOf(journal.lastTurn + 1, 3000));
  process.stdout.write(`${journal.lastTurn}\n`);
}

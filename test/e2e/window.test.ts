import { describe, test } from 'vitest';
import { worldForEach } from '../integration/harness.ts';
import { aloneAndBack, editsAndReload, fromNothingToTwo, threeWindows } from './journeys.ts';
import { stageForAll } from './stage.ts';

const world = worldForEach({ hasPages: true });
const stage = stageForAll();
const place = () => ({ world: world(), stage, outlives: true });

describe('three windows on one log', () => {
  test('an entry written in each shows in the same order in all; without its leader the group goes on; back again, it has all', () =>
    threeWindows(place()));

  test('alone, it keeps what is written, says why nothing is agreed, and has it agreed once when the others return', () =>
    aloneAndBack(place()));

  test('edits and removals are seen by the others; a page that is loaded anew in the middle has it all, and its draft', () =>
    editsAndReload(place()));
});

test('from nothing to two in one log, through the windows alone', () => fromNothingToTwo(place()));

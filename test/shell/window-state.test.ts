import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readWindowState, saveWindowState } from '../../src-main/shell/window-state.ts';

const SCREENS = [
  { x: 0, y: 25, width: 1_440, height: 875 },
  { x: 1_440, y: 0, width: 1_920, height: 1_080 },
];
const DEFAULT = { bounds: null, maximised: false };
let place: string;
let file: string;

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'synod-window-'));
  file = join(place, 'window.json');
});

afterEach(() => rmSync(place, { recursive: true }));

const bounds = (x: number, y: number, width = 800, height = 600) => ({ x, y, width, height });

test('what was saved is read again', () => {
  const state = { bounds: bounds(100, 50), maximised: true };
  saveWindowState(file, state);
  expect(readWindowState(file, SCREENS)).toEqual(state);
});

test('without a file it is the default', () => {
  expect(readWindowState(file, SCREENS)).toEqual(DEFAULT);
});

test.each([
  '',
  '{',
  'null',
  '[]',
  '{"bounds":{},"maximised":true}',
  '{"bounds":{"x":1.5,"y":0,"width":800,"height":600},"maximised":false}',
  '{"bounds":{"x":1e9,"y":0,"width":800,"height":600},"maximised":false}',
  '{"bounds":{"x":0,"y":0,"width":null,"height":600},"maximised":false}',
  '{"bounds":null,"maximised":"yes"}',
  '\u0000'.repeat(1_000),
])('garbage is the default: %j', (text) => {
  writeFileSync(file, text);
  expect(readWindowState(file, SCREENS)).toEqual(DEFAULT);
});

test.each([
  ['on the second screen', bounds(2_000, 10), bounds(2_000, 10)],
  ['half over an edge', bounds(-400, 100), bounds(-400, 100)],
  ['on a screen that is gone', bounds(5_000, 100), null],
  ['left of everything', bounds(-790, 100), null],
  ['with its title above the screen', bounds(100, -500), null],
  ['below the screen', bounds(100, 890), null],
  ['larger than the screen', bounds(0, 25, 9_000, 9_000), bounds(0, 25, 1_440, 875)],
  ['too small to be used', bounds(100, 100, 80, 1), bounds(100, 100, 360, 480)],
])('a window %s is put where it can be caught', (_, saved, expected) => {
  saveWindowState(file, { bounds: saved, maximised: false });
  expect(readWindowState(file, SCREENS).bounds).toEqual(expected);
});

test('a place that can’t be written is no failure', () => {
  saveWindowState(join(place, 'nothing', 'window.json'), DEFAULT);
  expect(readWindowState(join(place, 'nothing', 'window.json'), SCREENS)).toEqual(DEFAULT);
});

// Loaded into a peer with `--import`: its wall clock is off by the milliseconds in the file that is named. Timers and the monotonic clock are as they were.
import { readFileSync } from 'node:fs';

const file = new URL(import.meta.url).searchParams.get('file') as string;
const shiftMs = Number(readFileSync(file, 'utf8'));
const SystemDate = Date;

class ShiftedDate extends SystemDate {
  constructor(...parts: [] | [number | string | Date] | [number, number, ...number[]]) {
    if (parts.length === 0) super(ShiftedDate.now());
    // biome-ignore lint/suspicious/noExplicitAny: Date's own forms, passed on as they are
    else super(...(parts as [any]));
  }

  static override now(): number {
    return SystemDate.now() + shiftMs;
  }
}

Object.assign(globalThis, { Date: ShiftedDate });

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import * as v from 'valibot';

export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** How a window stood when it was closed. Without bounds: where the system puts it. */
export interface WindowState {
  readonly bounds: Rectangle | null;
  readonly maximised: boolean;
}

export const SIZE_MIN = { width: 360, height: 480 } as const;
export const SIZE_DEFAULT = { width: 1_100, height: 800 } as const;

/** Of a window's top, so much must lie on a screen that it can be caught. Pixels. */
const CATCH = 64;

const pixels = v.pipe(v.number(), v.safeInteger(), v.minValue(-100_000), v.maxValue(100_000));
const schema = v.object({
  bounds: v.nullable(v.object({ x: pixels, y: pixels, width: pixels, height: pixels })),
  maximised: v.boolean(),
});

/** What was kept, fitted to the screens that are there now; the default where the file is missing or says nonsense. */
export function readWindowState(file: string, screens: readonly Rectangle[]): WindowState {
  try {
    const { bounds, maximised } = v.parse(schema, JSON.parse(readFileSync(file, 'utf8')));
    return { bounds: bounds === null ? null : fitted(bounds, screens), maximised };
  } catch {
    return { bounds: null, maximised: false };
  }
}

/** Losing it costs nothing, so nothing is said where it can't be kept. */
export function saveWindowState(file: string, state: WindowState): void {
  try {
    writeFileSync(`${file}.tmp`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
    renameSync(`${file}.tmp`, file);
  } catch {
    // A full disk is spoken of where it matters.
  }
}

/** Null where nobody could catch the window: its screen is gone. */
function fitted(bounds: Rectangle, screens: readonly Rectangle[]): Rectangle | null {
  const screen = screens.find((each) => {
    const across = Math.min(bounds.x + bounds.width, each.x + each.width) - Math.max(bounds.x, each.x);
    return across >= CATCH && bounds.y >= each.y && bounds.y <= each.y + each.height - CATCH;
  });
  if (screen === undefined) return null;
  return {
    ...bounds,
    width: Math.max(SIZE_MIN.width, Math.min(bounds.width, screen.width)),
    height: Math.max(SIZE_MIN.height, Math.min(bounds.height, screen.height)),
  };
}

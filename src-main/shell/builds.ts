import { watch } from 'node:fs';
import { type Pages, readPages } from '../peer/pages.ts';

/** A build writes several files. It is taken as done when nothing was written for so long. Milliseconds. */
const SETTLED_MS = 100;

/** Tells of each build of the window while it is worked on. */
export function followBuilds(rendererDir: string, onBuilt: (pages: Pages) => void): void {
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    // Half a build is passed over: its other half comes.
    void readPages(rendererDir).then(onBuilt, () => {});
  };
  watch(rendererDir, () => {
    clearTimeout(timer);
    timer = setTimeout(look, SETTLED_MS);
  }).unref();
}

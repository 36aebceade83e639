// Bundles the window's main process and its preload into out/electron/, or into the folder that is named.
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const source = (path) => fileURLToPath(new URL(`../src-main/${path}`, import.meta.url));

/** Two bundles: packages inside, but for Electron and for the store, whose addon is found from its own folder. */
export async function buildElectron(dir) {
  await rm(dir, { recursive: true, force: true });
  const main = await rolldown({
    input: { main: source('shell/main.ts') },
    platform: 'node',
    external: ['electron', 'classic-level'],
  });
  await main.write({ dir: join(dir, 'main'), format: 'esm', chunkFileNames: 'parts/[name]-[hash].js' });
  await main.close();

  // A sandboxed preload is one CommonJS file that can load no packages.
  const preload = await rolldown({ input: source('preload/preload.ts'), platform: 'browser', external: ['electron'] });
  await preload.write({ file: join(dir, 'preload', 'preload.cjs'), format: 'cjs' });
  await preload.close();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildElectron(resolve(process.argv[2] ?? 'out/electron'));

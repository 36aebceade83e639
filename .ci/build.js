// Compiles everything into out/, the command into out/cli/, and the window's shell into out/electron/.
// Plain JavaScript: it runs during `npm ci`, also on a Node that can't strip types.
import { spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { build as viteBuild } from 'vite';
import { buildElectron } from './electron.js';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
const { status } = spawnSync(process.execPath, [tsc, '-b', '.'], { stdio: 'inherit' });
if (status !== 0) process.exit(1);

// The command in a few files: Node takes longer to find and read libp2p's several hundred than to run them.
rmSync('out/cli', { recursive: true, force: true });
const bundle = await rolldown({
  input: {
    synod: 'out/src-main/cli/synod.js',
    demo: 'out/src-main/cli/demo.js',
    start: 'out/src-main/cli/start.js',
  },
  platform: 'node',
  external: ['classic-level'], // its addon is found from its own folder
});
await bundle.write({ dir: 'out/cli', format: 'esm', chunkFileNames: 'parts/[name]-[hash].js' });
await bundle.close();

await buildElectron('out/electron');

// The page, for the window and for a browser.
await viteBuild({ configFile: 'src-renderer/vite.config.ts', logLevel: 'warn' });

// Plain files were written, and `npx synod` runs this one by its name.
const { bin } = JSON.parse(readFileSync('package.json', 'utf8'));
for (const file of Object.values(bin)) chmodSync(file, 0o755);

// Compiles everything into out/ and makes the command executable.
// Plain JavaScript: it runs during `npm ci`, also on a Node that can't strip types.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
const { status } = spawnSync(process.execPath, [tsc, '-b', '.'], { stdio: 'inherit' });
if (status !== 0) process.exit(1);

// tsc writes plain files, and `npx synod` runs this one by its name.
const { bin } = JSON.parse(readFileSync('package.json', 'utf8'));
for (const file of Object.values(bin)) if (existsSync(file)) chmodSync(file, 0o755);

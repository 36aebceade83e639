#!/usr/bin/env node
// Looks at Node's version before anything else is loaded: on an older one even the imports fail, with riddles.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 15)) {
  process.stderr.write(
    `Synod needs Node 22.15 or newer, and this is ${process.versions.node}. Install a newer Node.\n`,
  );
  process.exit(1);
}
const { runProcess } = await import('./process.ts');
await runProcess();

export {};

import { findElectron } from '../../src-main/cli/electron.ts';
import type { Shells } from './shells.ts';
import { electronShells } from './shells-electron.ts';
import { standInShells } from './shells-stand-in.ts';

/** Electron where its program and a display are, and otherwise the stand-in. */
export function chooseShells(): Shells {
  const found = findElectron(process.env, process.platform);
  return 'program' in found ? electronShells(found.program) : standInShells();
}

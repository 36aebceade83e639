export interface Patch {
  /** Its path from the project's root. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/**
 * Bugs to plant: each is a change to one place of the production source, made as the module is loaded, so that production carries no
 * switches. A simulator that does not catch them proves nothing.
 */
export interface Mutant {
  readonly name: string;
  /** What it weakens. */
  readonly rule: string;
  /** Known to catch it; where none of them does any more, the tests look for another. */
  readonly seeds: readonly number[];
  /** A test file that catches it, where no simulation gets there, and why none does. */
  readonly caughtBy?: string;
  readonly patches: readonly Patch[];
}

/** The source with the bug in it. @throws where the bug no longer fits it */
export function planted(mutant: Mutant, url: string, source: string): string {
  const path = url.replaceAll('\\', '/').split('?')[0] ?? '';
  let bent = source;
  for (const { find, replace, file } of mutant.patches) {
    if (!path.endsWith(`/${file}`)) continue;
    if (bent.split(find).length !== 2) throw new Error(`${mutant.name} no longer fits ${file}: ${find}`);
    bent = bent.replace(find, () => replace);
  }
  return bent;
}

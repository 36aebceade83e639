// Ways to damage a file, and the files of a group's directory to try them on.
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Damage {
  readonly name: string;
  apply(path: string): void;
}

/** @param share of the file's length, where the bit is */
export const flipAt = (share: number): Damage => ({
  name: `a bit flipped at ${Math.round(share * 100)} %`,
  apply(path) {
    const bytes = readFileSync(path);
    const at = Math.min(bytes.length - 1, Math.floor(bytes.length * share));
    if (at >= 0) bytes[at] = (bytes[at] as number) ^ 0x10;
    writeFileSync(path, bytes);
  },
});

export const half: Damage = {
  name: 'cut to half',
  apply: (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
};
export const emptied: Damage = { name: 'cut to nothing', apply: (path) => truncateSync(path) };
export const removed: Damage = { name: 'removed', apply: (path) => rmSync(path) };

/** Each file gets each of these; what is long gets a bit flipped at several places. */
const EVERY: readonly Damage[] = [flipAt(0.5), half, emptied, removed];
const LONG: readonly Damage[] = [flipAt(0.02), flipAt(0.25), flipAt(0.75), flipAt(0.99), ...EVERY];

interface Kind {
  readonly name: string;
  /** Of the path below the directory, with `/`. */
  readonly pattern: RegExp;
  readonly damages: readonly Damage[];
  /** It holds what was saved last. */
  readonly holdsSaved: boolean;
}

const kind = (name: string, pattern: RegExp, damages = EVERY, holdsSaved = true): Kind => {
  return { name, pattern, damages, holdsSaved };
};

/** Of `groups/GID`. */
const GROUP_KINDS: readonly Kind[] = [
  kind('group', /^group$/, EVERY, false),
  kind('mark', /^mark$/, LONG, false),
  kind('ballast', /^ballast$/, EVERY, false),
  kind('CURRENT', /^db\/CURRENT$/),
  kind('MANIFEST', /^db\/MANIFEST-\d+$/),
  kind('a table', /^db\/\d+\.ldb$/, LONG),
  kind('the write-ahead file', /^db\/\d+\.log$/, LONG),
  kind('LOCK', /^db\/LOCK$/, EVERY, false),
];

/** Of the directory itself, beside its groups. */
const INSTALLATION_KINDS: readonly Kind[] = [
  kind('identity', /^identity$/),
  kind('endpoint.json', /^endpoint\.json$/),
  kind('local: CURRENT', /^local\/CURRENT$/),
  kind('local: MANIFEST', /^local\/MANIFEST-\d+$/),
  kind('local: write-ahead file', /^local\/\d+\.log$/),
  kind('local: LOCK', /^local\/LOCK$/),
];

export interface DamageCase {
  readonly file: string;
  readonly damage: string;
  /** It may cost what was saved and never sent: no other machine has it. */
  readonly mayLoseSaved: boolean;
  apply(dir: string): void;
}

const casesOf = (kinds: readonly Kind[]): readonly DamageCase[] =>
  kinds.flatMap(({ name, pattern, damages, holdsSaved }) =>
    damages.map((damage) => ({
      file: name,
      damage: damage.name,
      mayLoseSaved: holdsSaved,
      apply: (dir: string) => damage.apply(largest(dir, pattern)),
    })),
  );

export const groupCases: readonly DamageCase[] = casesOf(GROUP_KINDS);
export const installationCases: readonly DamageCase[] = casesOf(INSTALLATION_KINDS);

/** The largest file below `dir` whose path fits. */
export function largest(dir: string, pattern: RegExp): string {
  const paths = readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .filter((path) => pattern.test(path.replaceAll('\\', '/')))
    .map((path) => join(dir, path))
    .toSorted((a, b) => statSync(b).size - statSync(a).size);
  const [path] = paths;
  if (path === undefined) throw new Error(`no ${pattern} in ${dir}`);
  return path;
}

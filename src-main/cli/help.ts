import { type Command, commands } from './commands.ts';

const common = [
  '--dir DIR                the data directory (default: $SYNOD_DIR, else this platform’s)',
  '--json                   one JSON object a line; errors too, on standard error',
];
const group = '--group GROUP            an id, a prefix of one, or a title; needed only with several groups';

export function globalHelp(): string {
  const width = Math.max(...Object.keys(commands).map((verb) => verb.length));
  const verbs = Object.entries(commands).map(([verb, { summary }]) => `  ${verb.padEnd(width)}  ${summary}`);
  return text([
    'Synod keeps one shared, ordered record on several machines, with no server.',
    '',
    'synod COMMAND …',
    '',
    ...verbs,
    '',
    'Everywhere:',
    ...[...common, group, '--help, --version'].map(indented),
    '',
    'Exit codes: 0 done, 1 failed, 2 usage, 3 no peer is running, 4 not committed, 5 damage found, 74 disk failure,',
    '78 written by a newer version.',
  ]);
}

export function commandHelp(verb: string, { usage, summary, details, options }: Command): string {
  const shared = 'group' in options ? [...common, group] : common;
  return text([`synod ${verb} ${usage}`.trimEnd(), '', summary, '', ...[...details, ...shared].map(indented)]);
}

const indented = (line: string): string => `  ${line}`;
const text = (lines: readonly string[]): string => `${lines.join('\n')}\n`;

import type { Run } from './command.ts';
import { groupOptions, type Options } from './usage.ts';

export interface Command {
  /** What follows the verb. */
  readonly usage: string;
  readonly summary: string;
  /** What `--help` adds, each line as it is printed. */
  readonly details: readonly string[];
  readonly options: Options;
  /** How many words may follow, at least and at most. */
  readonly positionals: readonly [min: number, max: number];
  /** Loaded when it is run, so that one command does not wait for the others. */
  load(): Promise<Run>;
}

const string = { type: 'string' } as const;
const boolean = { type: 'boolean' } as const;

const writing: Options = { ...groupOptions, wait: string, strict: boolean, as: string };

const writingDetails = [
  '--wait saved|committed   until it is on this disk, or until the group has agreed on its place (default)',
  '--timeout 30s            how long to wait for the group; then it is "saved", with the reason, and goes on by itself',
  '--strict                 exit 4 where it is not committed by then',
  '--as WRITER              the name of the person at the keyboard',
];

const members = (summary: string, how: string, load: Command['load']): Command => ({
  usage: 'PEER',
  summary,
  details: ['PEER is an id, a prefix of one, or a unique name.', how, '--timeout 30s            exit 4 after that'],
  options: groupOptions,
  positionals: [1, 1],
  load,
});

/** Every verb there is, in the order of the help. */
export const commands: Readonly<Record<string, Command>> = {
  serve: {
    usage:
      '[--name NAME] [--listen MULTIADDR]… [--no-mdns] [--web PORT] [--metrics 127.0.0.1:PORT] [--moved] [--json] [--log-level L]',
    summary: 'Runs a peer until Ctrl+C.',
    details: [
      '--name NAME              what this machine is called in its groups (at first the host name)',
      '--listen MULTIADDR       where to listen, such as /ip4/0.0.0.0/tcp/4747; may be given several times',
      '--no-mdns                neither look for members on this network by itself nor be found',
      '--web PORT               also serve the window to browsers on this machine, at 127.0.0.1:PORT (0: any, kept)',
      '--moved                  I moved this directory, or this copy of it is the one to keep: no other one runs',
      '--metrics 127.0.0.1:PORT serve /metrics (Prometheus), /livez and /readyz to this machine alone (0: any port)',
      '--log-level L            debug, info (default), warn, error or silent; the log goes to standard error',
    ],
    options: {
      name: string,
      listen: { type: 'string', multiple: true },
      'no-mdns': boolean,
      web: string,
      metrics: string,
      moved: boolean,
      'log-level': string,
    },
    positionals: [0, 0],
    load: async () => (await import('./commands/serve.ts')).serve,
  },
  create: {
    usage: 'TITLE',
    summary: 'Starts a new log, with this machine as its first member.',
    details: [],
    options: groupOptions,
    positionals: [1, 1],
    load: async () => (await import('./commands/groups.ts')).create,
  },
  invite: {
    usage: '[--rights writer|reader|keeper] [--role voter|learner|witness] [--expires 24h]',
    summary: 'Makes a ticket that lets one more machine in.',
    details: [
      '--rights writer          what the newcomer may do: read, write, or also invite and remove (keeper)',
      '--role voter             pins its part in agreeing; left out, it holds the log, and votes once the group needs its vote',
      '--expires 24h            how long the ticket is good',
      '--timeout 30s            exit 4 after that',
    ],
    options: { ...groupOptions, rights: string, role: string, expires: string },
    positionals: [0, 0],
    load: async () => (await import('./commands/groups.ts')).invite,
  },
  join: {
    usage: 'TICKET|- [--timeout 60s]',
    summary: 'Joins the log that a ticket is for. - reads the ticket from standard input.',
    details: ['--timeout 60s            how long to try; exit 4 after that'],
    options: { timeout: string },
    positionals: [1, 1],
    load: async () => (await import('./commands/groups.ts')).join,
  },
  append: {
    usage: 'TEXT|- [--wait saved|committed] [--timeout 30s] [--strict] [--key K] [--as WRITER] [--lines]',
    summary: 'Writes an entry. - reads it from standard input, without its last line end.',
    details: [
      ...writingDetails,
      '--key K                  the same key is the same entry: a repeated command writes nothing new',
      '--lines                  one entry for each line that is not empty',
    ],
    options: { ...writing, key: string, lines: boolean },
    positionals: [1, 1],
    load: async () => (await import('./commands/append.ts')).append,
  },
  edit: {
    usage: 'ENTRY TEXT|- [--wait …] [--timeout 30s] [--strict] [--as WRITER]',
    summary: 'Gives an entry a new text, merged with what others changed meanwhile.',
    details: ['ENTRY is an id, a unique prefix of one, or a position such as 57.', ...writingDetails],
    options: writing,
    positionals: [2, 2],
    load: async () => (await import('./commands/revise.ts')).edit,
  },
  remove: {
    usage: 'ENTRY [--wait …] [--timeout 30s] [--strict] [--as WRITER]',
    summary: 'Removes an entry. Its position stays, and it can be restored.',
    details: ['ENTRY is an id, a unique prefix of one, or a position such as 57.', ...writingDetails],
    options: writing,
    positionals: [1, 1],
    load: async () => (await import('./commands/revise.ts')).remove,
  },
  restore: {
    usage: 'ENTRY [--revision N] [--wait …] [--timeout 30s] [--strict] [--as WRITER]',
    summary: 'Brings a removed entry back, or an older text.',
    details: [
      'ENTRY is an id, a unique prefix of one, or a position such as 57.',
      '--revision N             the revision whose text comes back',
      ...writingDetails,
    ],
    options: { ...writing, revision: string },
    positionals: [1, 1],
    load: async () => (await import('./commands/revise.ts')).restore,
  },
  import: {
    usage: 'FILE.jsonl|- [--writer-field F] [--text-field F]',
    summary: 'Writes one entry for each line of JSON. What was imported before is skipped.',
    details: [
      '--text-field F           the field that holds the text (default: text)',
      '--writer-field F         the field that names who wrote it (default: none)',
      '--timeout 30s            how long to wait for the group; what is not agreed by then is kept and goes on by itself',
    ],
    options: { ...groupOptions, 'writer-field': string, 'text-field': string },
    positionals: [1, 1],
    load: async () => (await import('./commands/import.ts')).importFile,
  },
  log: {
    usage: '[--since POSITION] [--after-slot SLOT] [--limit N] [--follow] [--pending]',
    summary: 'Prints the log.',
    details: [
      '--since POSITION         only entries after this position',
      '--after-slot SLOT        only entries created after this slot',
      '--limit N                the last N; with --since or --after-slot the first N',
      '--follow                 goes on with what is new or changed, until Ctrl+C',
      '--pending                also what is not agreed yet',
    ],
    options: {
      ...groupOptions,
      since: string,
      'after-slot': string,
      limit: string,
      follow: boolean,
      pending: boolean,
    },
    positionals: [0, 0],
    load: async () => (await import('./commands/log.ts')).log,
  },
  history: {
    usage: 'ENTRY',
    summary: 'Prints every revision of an entry.',
    details: ['ENTRY is an id, a unique prefix of one, or a position such as 57.'],
    options: groupOptions,
    positionals: [1, 1],
    load: async () => (await import('./commands/log.ts')).history,
  },
  barrier: {
    usage: '[--timeout 30s]',
    summary: 'Waits until this machine has everything that was agreed before now.',
    details: ['--timeout 30s            exit 4 after that'],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/status.ts')).barrier,
  },
  status: {
    usage: '',
    summary: 'Says how things stand.',
    details: [],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/status.ts')).status,
  },
  health: {
    usage: '',
    summary: 'Says whether all is well: exit 0, or 4 and what is the matter.',
    details: [],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/status.ts')).health,
  },
  members: {
    usage: '',
    summary: 'Lists the members of a log.',
    details: [],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/status.ts')).members,
  },
  promote: members(
    'Gives a member a vote, and pins that.',
    'It votes once it has caught up.',
    async () => (await import('./commands/members.ts')).promote,
  ),
  demote: members(
    'Takes a member’s vote, and pins that.',
    'It goes on holding everything.',
    async () => (await import('./commands/members.ts')).demote,
  ),
  expel: members(
    'Removes a member.',
    'What it wrote stays; it needs a new invitation to return.',
    async () => (await import('./commands/members.ts')).expel,
  ),
  lead: members(
    'Lets a member lead, one that votes.',
    'Who leads proposes the order; it makes no difference to what is agreed.',
    async () => (await import('./commands/members.ts')).lead,
  ),
  quorum: {
    usage: '[--phase1 N --phase2 N | --majorities]',
    summary: 'Shows how many voters it takes and what that survives, or sets it.',
    details: [
      '--phase1 N               how many voters choose who leads',
      '--phase2 N               how many voters agree on an entry; together more than there are voters',
      '--majorities             more than half for both, which is what a log begins with',
      '--timeout 30s            exit 4 after that',
    ],
    options: { ...groupOptions, phase1: string, phase2: string, majorities: boolean },
    positionals: [0, 0],
    load: async () => (await import('./commands/quorum.ts')).quorum,
  },
  away: {
    usage: '[--until DATE] | --back',
    summary: 'Says that this machine goes away for a while, so that others vote and lead.',
    details: [
      '--until DATE             a day, a time, or a duration such as 3d; left out, until it is back',
      '--back                   it is here again; the next start of its peer says so by itself',
      '--timeout 30s            exit 4 after that',
    ],
    options: { ...groupOptions, until: string, back: boolean },
    positionals: [0, 0],
    load: async () => (await import('./commands/governing.ts')).away,
  },
  leave: {
    usage: '',
    summary: 'Removes this machine from a log. What was agreed stays readable here.',
    details: ['--timeout 30s            exit 4 after that'],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/governing.ts')).leave,
  },
  invites: {
    usage: '',
    summary: 'Lists the invitations that nobody used yet.',
    details: [],
    options: groupOptions,
    positionals: [0, 0],
    load: async () => (await import('./commands/governing.ts')).invites,
  },
  revoke: {
    usage: 'KEY',
    summary: 'Takes an invitation back.',
    details: ['KEY is what invites lists, or the beginning of it.', '--timeout 30s            exit 4 after that'],
    options: groupOptions,
    positionals: [1, 1],
    load: async () => (await import('./commands/governing.ts')).revoke,
  },
  rename: {
    usage: 'TITLE',
    summary: 'Gives a log another title.',
    details: ['--timeout 30s            exit 4 after that'],
    options: groupOptions,
    positionals: [1, 1],
    load: async () => (await import('./commands/governing.ts')).rename,
  },
  profile: {
    usage: '[--name NAME]',
    summary: 'Says what this machine is called, or changes it in all its logs.',
    details: ['--name NAME              what it is called from now on', '--timeout 30s            exit 4 after that'],
    options: { timeout: string, name: string },
    positionals: [0, 0],
    load: async () => (await import('./commands/governing.ts')).profile,
  },
  outbox: {
    usage: '[--export FILE | --import FILE]',
    summary: 'Lists what was written here and is not agreed, or carries it by hand.',
    details: [
      '--export FILE            writes the signed commands that wait here to a file, for any member’s machine to hand over',
      '--import FILE            hands over what such a file holds; what is known already does no harm',
    ],
    options: { ...groupOptions, export: string, import: string },
    positionals: [0, 0],
    load: async () => (await import('./commands/outbox.ts')).outbox,
  },
  backup: {
    usage: 'OUT',
    summary: 'Writes a file that this machine can be made again from. Its peer may run or not.',
    details: [
      'The file holds this machine’s key: keep it as safe as the directory itself. What is there already is not written over.',
    ],
    options: {},
    positionals: [1, 1],
    load: async () => (await import('./commands/backup.ts')).backup,
  },
  rebuild: {
    usage: 'NEWDIR BACKUP',
    summary: 'Makes a data directory from a backup. It votes again once the others have agreed.',
    details: [
      'NEWDIR must not be there yet. What was written after the backup, and neither agreed nor sent, is not in it.',
    ],
    options: {},
    positionals: [2, 2],
    load: async () => (await import('./commands/backup.ts')).rebuild,
  },
  verify: {
    usage: '[BACKUP]',
    summary: 'Checks every stored record of a stopped peer, or a backup. Exit 5 where something is damaged.',
    details: [],
    options: {},
    positionals: [0, 1],
    load: async () => (await import('./commands/verify.ts')).verify,
  },
  recover: {
    usage: '--keep PEER… [--dry-run] [--force]',
    summary: 'Goes on without machines that are gone for good. The peer is stopped; each survivor consents.',
    details: [
      '--keep PEER              a machine that goes on, this one too; once for each',
      '--dry-run                only says who is given up and what may be lost',
      '--force                  does it: this machine takes no part in the old quorum any more',
    ],
    options: { group: string, keep: { type: 'string', multiple: true }, 'dry-run': boolean, force: boolean },
    positionals: [0, 0],
    load: async () => (await import('./commands/recover.ts')).recover,
  },
};

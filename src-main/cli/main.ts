import { EXIT } from '../../shared/ipc/errors.ts';
import { commands } from './commands.ts';
import { failureLine, failureOf } from './failure.ts';
import { commandHelp, globalHelp } from './help.ts';
import type { Io } from './io.ts';
import { Arguments, commonOptions, groupOptions, type Options, usage } from './usage.ts';
import { version } from './version.ts';

/** Runs one command line. Never throws; what went wrong is said on standard error. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const end = argv.indexOf('--');
  const json = (end < 0 ? argv : argv.slice(0, end)).includes('--json');
  try {
    return await dispatch(argv, io, json);
  } catch (error) {
    const failure = failureOf(error);
    await io.err(failureLine(failure, json));
    return failure.exitCode;
  }
}

async function dispatch(argv: readonly string[], io: Io, json: boolean): Promise<number> {
  const at = verbAt(argv);
  const verb = argv[at];
  if (verb === undefined) return withoutVerb(argv, io);
  const command = Object.hasOwn(commands, verb) ? commands[verb] : undefined;
  if (command === undefined) throw usage(`There is no command ${JSON.stringify(verb)}. See: synod --help`);

  // Before the checks, so that a person who is lost is helped whatever else stands there.
  const rest = [...argv.slice(0, at), ...argv.slice(at + 1)];
  if (asksForHelp(rest)) {
    await io.out(commandHelp(verb, command));
    return EXIT.done;
  }
  const args = new Arguments(rest, { ...commonOptions, ...command.options });
  const [min, max] = command.positionals;
  if (args.positionals.length < min) throw usage(`Something is missing: synod ${verb} ${command.usage}`);
  if (args.positionals.length > max) {
    const extra = JSON.stringify(args.positionals[max]);
    throw usage(`${extra} is too much: synod ${verb} ${command.usage} (texts with spaces need quotes)`);
  }
  const run = await command.load();
  return run({ args, io, json });
}

async function withoutVerb(argv: readonly string[], io: Io): Promise<number> {
  if (asksForHelp(argv)) {
    await io.out(globalHelp());
    return EXIT.done;
  }
  const args = new Arguments(argv, { ...globalOptions, version: { type: 'boolean' } });
  if (args.flag('version')) {
    await io.out(`${version()}\n`);
    return EXIT.done;
  }
  throw usage('Say what to do, such as: synod status. See: synod --help');
}

const globalOptions: Options = { ...commonOptions, ...groupOptions };

/** The first word that is neither an option nor an option's value. */
function verbAt(argv: readonly string[]): number {
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    if (word === '--') return i + 1;
    if (!word.startsWith('-')) return i;
    const takesValue = globalOptions[word.slice(2)]?.type === 'string';
    if (takesValue) i += 1;
  }
  return argv.length;
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return (end < 0 ? args : args.slice(0, end)).some((word) => word === '--help' || word === '-h');
}

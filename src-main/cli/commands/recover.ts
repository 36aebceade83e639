import { EXIT, PeerError } from '../../../shared/ipc/errors.ts';
import { type Named, type Recovery, recoverDir } from '../../peer/recovery.ts';
import { assertNoPeer, directoryOf, type Invocation, jsonLine } from '../command.ts';
import { grouped, printableLine, shortPeer } from '../terminal.ts';
import { usage } from '../usage.ts';

/** Goes on without machines that are gone for good, once everybody who is left consents. */
export async function recover(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const keep = args.texts('keep');
  const isDry = args.flag('dry-run');
  if (keep.length === 0) throw usage('--keep names every machine that goes on, this one too; give it once for each.');
  const dir = directoryOf(invocation);
  await assertNoPeer(invocation, dir, 'recover');
  const force = args.flag('force') && !isDry;
  const done = await recoverDir(dir, { group: args.text('group'), keep, force });
  await io.out(json ? jsonLine(done) : page(done));
  if (done.step !== 'planned' || isDry) return EXIT.done;
  throw new PeerError('FORCE_NEEDED', 'Nothing was changed. If they are gone for good, say so with --force.');
}

function page(recovery: Recovery): string {
  const { title, kept, givenUp, slot, position, step } = recovery;
  const lines = [
    `${printableLine(title)}`,
    `  goes on    ${names(kept)}`,
    `  given up   ${givenUp.length === 0 ? 'nobody' : names(givenUp)}`,
    '',
    `This machine holds the log up to slot ${grouped(slot)}, ${position === 0 ? 'without an entry' : `#${grouped(position)}`}.`,
    ...losses(recovery),
    'Everything that is saved here is kept, and what waits is agreed on afterwards.',
    '',
    ...(step === 'planned' ? warnings(recovery) : after(recovery)),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

const names = (all: readonly Named[]): string =>
  all.map(({ name, peer }) => (name === '' ? shortPeer(peer) : printableLine(name))).join(', ');

function losses({ lossless, shortfalls, slot, position, step }: Recovery): string[] {
  const asFarAs = step === 'recovered' ? '' : ', as far as this machine can tell';
  if (lossless) return [`Nothing that was agreed is lost${asFarAs}: each agreed entry is on a machine that goes on.`];
  const [{ voters, kept, q2 } = { voters: 0, kept: 0, q2: 0 }] = shortfalls;
  return [
    `What was agreed after slot ${grouped(slot)} may be lost${asFarAs}: of ${voters} that voted ${kept} ${kept === 1 ? 'goes' : 'go'} on, and any ${q2} of them were enough.`,
    `Positions after #${grouped(position)} may then be others than on the machines that are given up.`,
  ];
}

function warnings({ kept }: Recovery): string[] {
  return [
    'If one of those that are given up still runs, or is started again somewhere else, there may be two logs that can never be one again.',
    ...(kept.length === 1 ? [] : ['Each machine that goes on has to consent, with the same --keep.']),
  ];
}

function after({ step, kept, at }: Recovery): string[] {
  if (step === 'recovered')
    return [`The log goes on from slot ${grouped(at ?? 0)}. Start this machine with: synod serve`];
  return [
    'This machine has consented, and takes no part in the old quorum any more.',
    `Do the same on the others (${names(kept)}), then start them all: the log goes on once all have consented and reach each other.`,
  ];
}

import type { QuorumStatus } from '../../../shared/ipc/contract.ts';
import { EXIT } from '../../../shared/ipc/errors.ts';
import { answered, type Invocation, jsonLine, withPeer } from '../command.ts';
import { table } from '../terminal.ts';
import { usage } from '../usage.ts';

/** Shows the quorum sizes and what others would survive, or sets them. */
export async function quorum(invocation: Invocation): Promise<number> {
  const { args, io, json } = invocation;
  const timeoutMs = args.duration('timeout', 30_000);
  const phase1 = args.integer('phase1', 1);
  const phase2 = args.integer('phase2', 1);
  const majorities = args.flag('majorities');
  if ((phase1 === undefined) !== (phase2 === undefined)) throw usage('--phase1 and --phase2 go together.');
  if (majorities && phase1 !== undefined) throw usage('--majorities sets both sizes: leave --phase1 and --phase2 out.');
  const wanted = majorities ? { majorities } : phase1 === undefined || phase2 === undefined ? {} : { phase1, phase2 };
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, ...wanted, timeoutMs };
    const now = await answered(asking, timeoutMs, (signal) => asking.service.quorum(params, signal));
    await io.out(json ? jsonLine(now) : page(now));
    return EXIT.done;
  });
}

function page(now: QuorumStatus): string {
  const { voters, phase1, phase2, witnesses, pinned } = now;
  const canLead = voters - witnesses;
  const spare = (needed: number): string => away(Math.min(voters - needed, canLead - 1));
  const how = pinned ? `set by hand for ${voters}` : 'majorities';
  const choices = shownSizes(now).map(([q1, q2]) => [
    String(q1),
    String(q2),
    spare(q2),
    spare(Math.max(q1, q2)),
    q1 === phase1 && q2 === phase2 ? 'now' : '',
  ]);
  const head = ['phase 1', 'phase 2', 'away while somebody leads', 'away while a leader is chosen', ''];
  const lines = [
    `${voters === 1 ? '1 machine votes' : `${voters} machines vote`}: ${phase1} choose who leads, ${phase2} agree (${how}).`,
    '',
    ...table([head, ...choices]).map((line) => `  ${line}`),
    ...(witnesses === 0 ? [] : ['', witnessLine(witnesses)]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

const witnessLine = (witnesses: number): string =>
  `${witnesses === 1 ? '1 of them is a witness' : `${witnesses} of them are witnesses`}, and never lead${witnesses === 1 ? 's' : ''}: of the others one has to be here.`;

const away = (n: number): string => (n === 0 ? 'none' : `any ${n}`);

/** Those worth choosing, and the present ones, which may be larger: what they survive is to be seen as well. */
function shownSizes({ voters, phase1, phase2 }: QuorumStatus): [phase1: number, phase2: number][] {
  const sizes = sizesOf(voters);
  return sizes.some(([q1, q2]) => q1 === phase1 && q2 === phase2) ? sizes : [...sizes, [phase1, phase2]];
}

/** The smallest pairs that are safe: larger quorums only need more machines. */
function sizesOf(voters: number): [phase1: number, phase2: number][] {
  const least = Math.min(2, voters);
  return Array.from({ length: voters - least + 1 }, (_, i) => [voters + 1 - (least + i), least + i]);
}

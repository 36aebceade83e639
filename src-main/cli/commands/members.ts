import type { MemberParams, MemberRole, PeerService } from '../../../shared/ipc/contract.ts';
import { EXIT } from '../../../shared/ipc/errors.ts';
import { answered, type Invocation, jsonLine, type Run, withPeer } from '../command.ts';
import { shortPeer } from '../terminal.ts';

type Change = (service: PeerService, params: MemberParams, signal: AbortSignal) => Promise<MemberRole>;

export const promote: Run = (invocation) =>
  change(invocation, 'votes from now on', (service, params, signal) => service.promote(params, signal));

export const demote: Run = (invocation) =>
  change(invocation, 'no longer votes and goes on holding everything', (service, params, signal) =>
    service.demote(params, signal),
  );

export const expel: Run = (invocation) =>
  change(invocation, 'is no longer a member', (service, params, signal) => service.expel(params, signal));

export const lead: Run = (invocation) =>
  change(invocation, 'leads now', (service, params, signal) => service.lead(params, signal));

async function change(invocation: Invocation, outcome: string, request: Change): Promise<number> {
  const { args, io, json } = invocation;
  const peer = args.positionals[0] as string;
  const timeoutMs = args.duration('timeout', 30_000);
  return withPeer(invocation, async (asking) => {
    const params = { ...asking.inGroup, peer, timeoutMs };
    const changed = await answered(asking, timeoutMs, (signal) => request(asking.service, params, signal));
    await io.out(
      json ? jsonLine({ peer: changed.peer, role: changed.role }) : `${shortPeer(changed.peer)} ${outcome}.\n`,
    );
    return EXIT.done;
  });
}

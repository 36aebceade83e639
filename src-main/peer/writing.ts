import { utf8 } from '../../shared/base/bytes.ts';
import type { EntryId } from '../../shared/base/ids.ts';
import {
  type Body,
  isRefused,
  KEY_MAX_BYTES,
  keyedEntryId,
  LEVEL,
  nameProblem,
  normalizeText,
  type Refused,
  type Took,
  type Verdict,
} from '../../shared/document/index.ts';
import { StoreError } from '../../shared/driver/store.ts';
import type { Appended, Wait, Written, WrittenRevision } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Outcomes } from '../../shared/replica/replica.ts';
import type { Pending, Written as Said } from '../../shared/session/index.ts';
import type { Network } from '../network/network.ts';
import { keepsNoEntries, refusedAtOnce, refusedByGroup, storeFailure } from './failures.ts';
import type { GroupHost } from './group-host.ts';
import { pushedBack } from './push-back.ts';
import { type Ended, waitFor } from './waiting.ts';
import { whyNot, whyUnsound } from './why.ts';

/** What stands on every command of this machine now. */
export function said(host: GroupHost, writer: string | undefined): Said {
  const { replica } = host;
  return {
    writer: writer ?? replica.reader.member(replica.self)?.name ?? '',
    timeMs: Date.now(),
    offsetMinutes: -new Date().getTimezoneOffset(),
    saw: replica.applied,
    level: LEVEL,
  };
}

interface Wish {
  readonly wait: Wait;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** How far a command came, and which entry it is about. */
interface Come {
  readonly pending: Pending;
  readonly verdict: Verdict | null;
}

/**
 * Gives a command to the replica and waits as far as is wished. Saving always is waited for: at the timeout the command is saved and pending.
 * @throws PeerError where it was refused, or the disk did not take it
 */
async function write(host: GroupHost, wish: Wish, give: (outcomes: Outcomes) => Pending | Refused): Promise<Come> {
  if (host.trouble === 'DISK_FULL') {
    throw new PeerError(
      'DISK_FULL',
      'The disk is full: this was not saved. Free some space and try again; what was saved before is kept.',
    );
  }
  if (!host.replica.isSound) {
    const { code, text } = whyUnsound(host);
    throw new PeerError(code, `Nothing was written. ${text}`);
  }
  if (host.replica.isWitness) throw keepsNoEntries('Nothing was written.');
  let pending: Pending | Refused | null = null;
  /** Handles are its own: another one may be open by the time that this ends. */
  let given = host.replica;
  let isSaved = false;
  let isLate = false;
  let isSecondTry = false;
  let stopWaiting = (): void => {};
  const ended: Ended<Verdict | null> = await waitFor<Verdict | null>(
    Number.POSITIVE_INFINITY,
    wish.signal,
    (done, failed) => {
      const outcomes: Outcomes = {
        saved: () => {
          isSaved = true;
          if (isLate) done(null);
          else if (wish.wait === 'saved') void pushedBack(host).then(() => done(null));
        },
        settled: (verdict) => done(verdict),
      };
      /** A snapshot took its place, or the like: what was saved is still here, and still waits. */
      const goOn = (error: Error): boolean => {
        if (!isSaved || !(error instanceof StoreError) || error.code !== 'CLOSED' || !host.isWell) return false;
        const again = host.replica.rejoin(pending as Pending, outcomes);
        if (again === null) return false;
        pending = again;
        given = host.replica;
        stopWaiting = host.waiting(onStoreFailed);
        return true;
      };
      const onStoreFailed = (error: Error): void => {
        if (goOn(error)) return;
        if (isSaved || host.holds(pending)) done(null);
        else if (isSecondTry || !host.isWell) failed(storeFailure(error));
        else {
          // Room was made, or the damage was looked after: the store is open again, without this command.
          isSecondTry = true;
          attempt();
        }
      };
      const attempt = (): void => {
        stopWaiting = host.waiting(onStoreFailed);
        given = host.replica;
        try {
          pending = give(outcomes);
        } catch (error) {
          return failed(error); // an edit reads what it is made on
        }
        if ('refused' in pending) failed(refusedAtOnce(pending));
        else host.wake();
      };
      const timer =
        wish.wait === 'committed'
          ? setTimeout(() => {
              isLate = true;
              if (isSaved) done(null);
            }, wish.timeoutMs)
          : undefined;
      attempt();
      return () => {
        clearTimeout(timer);
        stopWaiting();
      };
    },
  );
  const made = pending as unknown as Pending;
  if (ended.by === 'timeout' || ended.value === null) {
    given.forget(made.handle);
    return { pending: made, verdict: null };
  }
  return { pending: made, verdict: ended.value };
}

function answer(host: GroupHost, network: Network, come: Come, wait: Wait): Written & { readonly took: Took | null } {
  const id = come.pending.entries[0] ?? '';
  if (come.verdict === null) {
    const why = wait === 'saved' ? null : whyNot(host, network);
    return {
      id,
      status: 'saved',
      position: null,
      slot: null,
      why: wait === 'saved' ? null : (why?.text ?? 'It is on its way.'),
      whyCode: wait === 'saved' ? null : (why?.code ?? 'ON_ITS_WAY'),
      took: null,
    };
  }
  if (isRefused(come.verdict)) throw refusedByGroup(come.verdict);
  const took = come.verdict.took[0] ?? null;
  return {
    id: took?.entry ?? id,
    status: 'committed',
    position: took?.position ?? null,
    slot: took?.slot ?? null,
    why: null,
    whyCode: null,
    took,
  };
}

export async function append(
  host: GroupHost,
  network: Network,
  params: Wish & { readonly text: string; readonly key?: string; readonly writer?: string },
): Promise<Appended> {
  checkNames(params);
  const text = normalizeText(params.text);
  const before = params.key === undefined ? null : firstText(host, params.key);
  if (before !== null && before !== text) throw refusedAtOnce({ refused: 'KEY_REUSED', detail: 'another text' });
  const created = before === null;
  const body: Body = { kind: 'create', key: params.key ?? null, text };
  const come = await write(host, params, (outcomes) => host.replica.write(body, said(host, params.writer), outcomes));
  const { took: _took, ...written } = answer(host, network, come, params.wait);
  return { ...written, created };
}

/** The text with which the key's entry was created, agreed or pending; null where there is none. */
function firstText({ replica }: GroupHost, key: string): string | null {
  const id = keyedEntryId(replica.group, replica.self, key);
  return replica.reader.revision(id, 1)?.text ?? replica.outbox.pendingCreation(id);
}

/** What no peer would take, said in words before anything is written. */
function checkNames({ writer, key }: { readonly writer?: string; readonly key?: string }): void {
  const problem = writer === undefined || writer === '' ? null : nameProblem(writer);
  if (problem !== null) {
    throw new PeerError(
      problem,
      "A writer's name has at most 200 bytes and no control characters. Nothing was written.",
    );
  }
  if (key !== undefined && (key === '' || utf8(key).length > KEY_MAX_BYTES)) {
    const code = key === '' ? 'TEXT_EMPTY' : 'TEXT_TOO_LONG';
    throw new PeerError(code, `A key has 1 to ${KEY_MAX_BYTES} bytes. Nothing was written.`);
  }
}

export async function edit(
  host: GroupHost,
  network: Network,
  params: Wish & { readonly id: EntryId; readonly text: string; readonly writer?: string },
): Promise<WrittenRevision> {
  return revise(host, network, params, (outcomes) =>
    host.replica.edit({ entry: params.id, text: params.text }, said(host, params.writer), outcomes),
  );
}

export async function change(
  host: GroupHost,
  network: Network,
  params: Wish & { readonly id: EntryId; readonly body: Body; readonly writer?: string },
): Promise<WrittenRevision> {
  return revise(host, network, params, (outcomes) =>
    host.replica.write(params.body, said(host, params.writer), outcomes),
  );
}

async function revise(
  host: GroupHost,
  network: Network,
  params: Wish & { readonly id: EntryId; readonly writer?: string },
  give: (outcomes: Outcomes) => Pending | Refused,
): Promise<WrittenRevision> {
  checkNames(params);
  const { replica } = host;
  const come = await write(host, params, give);
  const { took, ...written } = answer(host, network, come, params.wait);
  const expected = replica.outbox.current(replica.reader, params.id)?.revision ?? 1;
  return { ...written, revision: took?.revision ?? expected };
}

/** For what the peer itself has to say: waits until the group has judged it. @throws PeerError `TIMED_OUT`, or the refusal */
export async function command(
  host: GroupHost,
  network: Network,
  body: Body,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  assertMember(host);
  const come = await write(host, { wait: 'committed', timeoutMs, signal }, (outcomes) =>
    host.replica.write(body, said(host, undefined), outcomes, { quiet: true }),
  );
  if (come.verdict === null) throw timedOut(host, network);
  if (isRefused(come.verdict)) throw refusedByGroup(come.verdict);
}

/** @throws PeerError `REFUSED_NOT_MEMBER` where this machine was one, and the group would take nothing from it */
export function assertMember({ replica }: GroupHost): void {
  if ((replica.reader.member(replica.self)?.expelledSlot ?? null) === null) return;
  const message = 'This machine is no longer a member. Nothing was changed; what was agreed stays readable here.';
  throw new PeerError('REFUSED_NOT_MEMBER', message);
}

export function timedOut(host: GroupHost, network: Network): PeerError {
  const why = whyNot(host, network)?.text ?? 'The group has not answered in time.';
  return new PeerError('TIMED_OUT', `Not in force yet: ${why}`);
}

import { toHex } from '../../shared/base/bytes.ts';
import type { GroupId, PeerId } from '../../shared/base/ids.ts';
import { isRefused, type Verdict } from '../../shared/document/index.ts';
import {
  type AdmitRequest,
  type AdmitResult,
  createJoinHost,
  type InvitationState,
  type JoinHost,
} from '../group/join-host.ts';
import type { BatchVerifier } from '../group/verifier.ts';
import type { Network } from '../network/network.ts';
import type { GroupHost } from './group-host.ts';
import type { Log } from './log.ts';
import { whyNot } from './why.ts';
import { said } from './writing.ts';

export interface AdmissionInit {
  readonly hosts: ReadonlyMap<GroupId, GroupHost>;
  readonly network: () => Network;
  readonly verifier: BatchVerifier;
  readonly selfName: () => string;
  readonly addressesOf: (peer: PeerId) => readonly string[];
  readonly log: Log;
}

/** How often somebody who waits for the group is told why. Milliseconds. */
const WHY_MS = 1_000;
/** Whether the door for joiners should be open is looked at this often, and at every change. Milliseconds. */
const DOOR_MS = 500;

/** The door for joiners: strangers may knock only while an invitation is open here or somebody is being let in. */
export class JoinDoor {
  readonly #init: AdmissionInit;
  readonly #admission: JoinHost;
  #timer: NodeJS.Timeout | null = null;
  #isOpen = false;

  constructor(init: AdmissionInit) {
    this.#init = init;
    this.#admission = createAdmission(init);
  }

  /** From now on it is looked after by itself, too: invitations expire. */
  start(): void {
    this.#timer = setInterval(() => this.tend(), DOOR_MS);
  }

  /** Opens it, or shuts it, as things stand now. */
  tend(): void {
    const wanted =
      this.#admission.wantsDoor() ||
      [...this.#init.hosts.values()].some(
        ({ replica, isOpen }) =>
          isOpen &&
          replica.reader.member(replica.self)?.rights === 'keeper' &&
          replica.reader.invitations().some(({ expiresMs }) => expiresMs === null || expiresMs > Date.now()),
      );
    if (wanted === this.#isOpen) return;
    this.#isOpen = wanted;
    this.#init.network().setJoinDoor(wanted ? this.#admission.onJoin : null);
  }

  /** Ends the conversations and admissions under way. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#admission.stop();
  }
}

/** Lets joiners in: any keeper's machine may, and the first admission in the log wins. */
function createAdmission(init: AdmissionInit): JoinHost {
  /** Admissions of this machine that the group has not judged. */
  const underWay = new Map<string, PeerId>();

  return createJoinHost({
    selfName: init.selfName,
    verifier: init.verifier,
    onProblem: (error) => init.log('warn', 'a join conversation failed', { error: String(error) }),

    invitation(group, key): InvitationState {
      const reader = init.hosts.get(group)?.replica.reader;
      const invitation = reader?.invitation(key);
      if (!invitation) return { state: 'unknown' };
      if (invitation.usedBy !== null) return { state: 'used', by: invitation.usedBy };
      const admitting = underWay.get(toHex(key));
      if (admitting !== undefined) return { state: 'used', by: admitting };
      if (invitation.revoked) return { state: 'revoked' };
      const { rights, pinned, expiresMs } = invitation;
      return { state: 'open', rights, pinnedRole: pinned, expiresMs };
    },

    welcome(group) {
      const { replica } = init.hosts.get(group) as GroupHost;
      const { reader } = replica;
      const own = { peer: replica.self, name: init.selfName(), addresses: init.addressesOf(replica.self) };
      const others = reader
        .members()
        .filter((m) => m.peer !== replica.self)
        .map((m) => ({ peer: m.peer, name: m.name, addresses: init.addressesOf(m.peer) }));
      return {
        genesis: replica.genesisBytes,
        title: reader.title() ?? '',
        members: [own, ...others],
        info: new Uint8Array(0),
      };
    },

    async admit(request, onWaiting, signal): Promise<AdmitResult> {
      const host = init.hosts.get(request.group);
      if (!host) return { ok: false, code: 'INVITATION_UNKNOWN' };
      const { reader } = host.replica;
      const invitation = reader.invitation(request.invitationKey);
      if (!invitation) return { ok: false, code: 'INVITATION_UNKNOWN' };
      const member = reader.member(request.joiner);
      if (member?.expelledSlot === null) {
        return { ok: true, admission: { rights: member.rights, role: 'learner' } };
      }
      if (reader.member(host.replica.self)?.rights !== 'keeper') {
        return {
          ok: false,
          code: 'TRY_LATER',
          message: 'This machine may not let anybody in; ask a keeper for a ticket.',
        };
      }
      const name = toHex(request.invitationKey);
      underWay.set(name, request.joiner);
      const timer = setInterval(() => onWaiting(whyNot(host, init.network())?.text ?? ''), WHY_MS);
      try {
        const verdict = await judged(host, request, signal);
        if (!isRefused(verdict)) return { ok: true, admission: { rights: invitation.rights, role: 'learner' } };
        switch (verdict.refused) {
          case 'ALREADY_MEMBER':
            return { ok: true, admission: { rights: invitation.rights, role: 'learner' } };
          case 'INVITATION_USED':
          case 'INVITATION_UNKNOWN':
            return { ok: false, code: verdict.refused };
          case 'INVITATION_BAD':
            return { ok: false, code: 'BAD_REQUEST' };
          default:
            return { ok: false, code: 'TRY_LATER', message: verdict.detail };
        }
      } finally {
        clearInterval(timer);
        underWay.delete(name);
      }
    },
  });
}

function judged(host: GroupHost, request: AdmitRequest, signal: AbortSignal): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('the host stops')), { once: true });
    const stop = host.waiting(reject);
    const made = host.replica.write(
      {
        kind: 'admit',
        key: request.invitationKey,
        joiner: request.joiner,
        incarnation: request.incarnation,
        signature: request.signature,
        name: request.name,
      },
      said(host, undefined),
      {
        settled: (verdict) => {
          stop();
          resolve(verdict);
        },
      },
      { quiet: true },
    );
    if ('refused' in made) {
      stop();
      resolve(made);
    } else host.wake();
  });
}

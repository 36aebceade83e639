import type { PeerStatus } from '../../shared/ipc/contract.ts';

export interface Ailment {
  readonly group: string;
  readonly code: string;
  readonly message: string;
}

/**
 * What keeps the groups of a peer from committing just now, or from being opened, and that another log goes on beside a group's own: what `synod health` and `/readyz`
 * both say. Being agreed on is no ailment, nor is being in no group yet.
 */
export function ailmentsOf({ groups, broken = [] }: Pick<PeerStatus, 'groups' | 'broken'>): readonly Ailment[] {
  const waiting = groups.flatMap(({ group, whyCode, why }) =>
    whyCode === null || whyCode === 'ON_ITS_WAY' ? [] : [{ group, code: whyCode, message: why ?? whyCode }],
  );
  return [...broken, ...waiting];
}

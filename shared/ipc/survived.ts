/** How many voters may be away, whichever they are. */
export interface Survives {
  /** While somebody leads. */
  readonly writing: number;
  /** While a leader is chosen: whoever is to lead has to reach both quorums, or it could do nothing with what it won. */
  readonly electing: number;
}

/** What so many voters survive at worst: a quorum is left, and with it a machine that can lead. A witness never does. */
export function survivedBy(configuration: {
  readonly voters: readonly { readonly witness: boolean }[];
  /** Voters that it takes to choose who leads, and to agree. */
  readonly q1: number;
  readonly q2: number;
}): Survives {
  const { voters, q1, q2 } = configuration;
  const full = voters.filter((v) => !v.witness).length;
  const spare = (needed: number): number => Math.max(0, Math.min(voters.length - needed, full - 1));
  return { writing: spare(q2), electing: spare(Math.max(q1, q2)) };
}

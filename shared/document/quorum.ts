/** Quorum sizes that were set by hand, for one number of voters. With any other number majorities count. */
export interface QuorumSizes {
  readonly voters: number;
  /** How many must promise before anybody leads. */
  readonly phase1: number;
  /** How many must hold a value before it is chosen. */
  readonly phase2: number;
}

/** As many voters as a configuration can have. */
export const QUORUM_VOTERS_MAX = 15;

/** Flexible Paxos' one condition, and that nothing agreed is on one disk alone where there are two. True where the sizes keep both. */
export function areSafe({ voters, phase1, phase2 }: QuorumSizes): boolean {
  const fit = [phase1, phase2].every((size) => size >= 1 && size <= voters);
  return fit && phase1 + phase2 > voters && (voters < 2 || phase2 >= 2);
}

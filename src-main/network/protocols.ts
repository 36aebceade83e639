import type { Purpose } from './network.ts';

/** Version in the name: what two builds have no common name for, they don't speak. */
export const PULSE_PROTOCOL = '/synod/pulse/1';
export const JOIN_PROTOCOL = '/synod/join/1';
export const DATA_PROTOCOLS: Readonly<Record<Purpose, string>> = {
  consensus: '/synod/consensus/1',
  session: '/synod/session/1',
  bulk: '/synod/bulk/1',
};

import { getContext, setContext } from 'svelte';
import type { PeerState } from './peer.svelte.ts';

const KEY = Symbol('peer');

/** The one peer behind this window, for every view below the first. */
export const givePeer = (peer: PeerState): PeerState => setContext(KEY, peer);
export const usePeer = (): PeerState => getContext<PeerState>(KEY);

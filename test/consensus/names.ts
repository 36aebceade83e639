import { hash } from 'node:crypto';
import { fromUtf8, utf8 } from '../../shared/base/bytes.ts';
import { installSha256, sha256, ZERO_HASH } from '../../shared/base/hash.ts';
import {
  type Incarnation,
  incarnationFromBytes,
  type PeerId,
  peerFromKey,
  type Slot,
  slot,
} from '../../shared/base/ids.ts';
import type { Ballot } from '../../shared/consensus/ballot.ts';
import { type Configuration, majorities, type Voter } from '../../shared/consensus/configuration.ts';
import { commandsValue, configurationValue, type HashPayload, NOOP, type Value } from '../../shared/consensus/value.ts';

/** One-letter names for peers, and short spellings of ballots, values and voters, so that scenarios read like a blackboard. */

installSha256((bytes) => new Uint8Array(hash('sha256', bytes, 'buffer')));

export const GENESIS_DIGEST = ZERO_HASH;
export const EPOCH = ZERO_HASH;
export const hashPayload: HashPayload = sha256;

const peers = new Map<string, PeerId>();
const names = new Map<PeerId, string>();

/** `A` … `Z`, in the order of their letters. */
export function peerOf(name: string): PeerId {
  let peer = peers.get(name);
  if (peer === undefined) {
    peer = peerFromKey(new Uint8Array(32).fill(name.charCodeAt(0)));
    peers.set(name, peer);
    names.set(peer, name);
  }
  return peer;
}

export const nameOf = (peer: PeerId): string => names.get(peer) ?? '?';

/** @param generation 1 for the first store, 2 for the one after a loss, … */
export function incarnationOf(name: string, generation = 1): Incarnation {
  const bytes = new Uint8Array(16);
  bytes[0] = name.charCodeAt(0);
  bytes[15] = generation;
  return incarnationFromBytes(bytes);
}

const generationOf = (incarnation: Incarnation): number => Number.parseInt(incarnation.slice(-2), 16);

/** `ballot('2.A')`; `2.A'2` for A's second incarnation. */
export function ballot(text: string): Ballot {
  const match = /^(\d+)\.([A-Z])(?:'(\d+))?$/.exec(text);
  if (!match) throw new Error(`not a ballot: ${text}`);
  const [, round, name, generation] = match as unknown as [string, string, string, string?];
  return { round: Number(round), peer: peerOf(name), incarnation: incarnationOf(name, Number(generation ?? 1)) };
}

export function showBallot(b: Ballot | null): string {
  if (b === null) return '-';
  const generation = generationOf(b.incarnation);
  return `${b.round}.${nameOf(b.peer)}${generation > 1 ? `'${generation}` : ''}`;
}

/** `voters('ABc')`: a small letter is a witness; `A'2` is A's second incarnation. */
export function voters(text: string): Voter[] {
  return [...text.matchAll(/([A-Za-z])(?:'(\d+))?/g)].map(([, letter, generation]) => {
    const name = (letter as string).toUpperCase();
    return {
      peer: peerOf(name),
      incarnation: incarnationOf(name, Number(generation ?? 1)),
      witness: letter !== name,
    };
  });
}

const showVoter = (v: Voter): string => {
  const generation = generationOf(v.incarnation);
  const name = nameOf(v.peer);
  return `${v.witness ? name.toLowerCase() : name}${generation > 1 ? `'${generation}` : ''}`;
};
export const showVoters = (list: readonly Voter[]): string => list.map(showVoter).join('');

export function configuration(text: string, previous = 0, sizes: { q1?: number; q2?: number } = {}): Configuration {
  const list = voters(text);
  return { previous: slot(previous), epoch: EPOCH, voters: list, ...majorities(list.length), ...sizes };
}

const values = new Map<string, Value>();

/** A value of commands that reads as `text`; `noop` is the no-op. */
export function value(text: string): Value {
  if (text === 'noop') return NOOP;
  let made = values.get(text);
  if (!made) {
    made = commandsValue(utf8(text), hashPayload);
    values.set(text, made);
  }
  return made;
}

export const configurationAs = (text: string, previous = 0): Value => configurationValue(configuration(text, previous));

const shown = new WeakMap<Value, string>();

/** Different for different values. */
export function showValue(v: Value): string {
  let text = shown.get(v);
  if (text === undefined) {
    text = spell(v);
    shown.set(v, text);
  }
  return text;
}

function spell(v: Value): string {
  switch (v.kind) {
    case 'noop':
      return 'noop';
    case 'commands': {
      const text = fromUtf8(v.payload);
      return text.length > 12 ? `${text.slice(0, 12)}…${text.length}` : text;
    }
    case 'configuration': {
      const c = v.configuration;
      if (c === null) return '{unreadable}';
      const { q1, q2 } = majorities(c.voters.length);
      const sizes = c.q1 === q1 && c.q2 === q2 ? '' : ` ${c.q1}+${c.q2}`;
      return `{${showVoters(c.voters)}${sizes} after ${c.previous}}`;
    }
  }
}

export const at = (n: number): Slot => slot(n);

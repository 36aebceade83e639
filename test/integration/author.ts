import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { Random } from '../../shared/base/random.ts';
import type { Appended, PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import { never, type Peer } from './harness.ts';
import type { Utterance } from './transcript.ts';

/** Requests under way at once. */
const IN_FLIGHT = 64;
/** How long an append waits for the group; longer than any outage here. Milliseconds. */
const PATIENCE_MS = 120_000;
/** Between two looks whether the peer is back. Milliseconds. */
const LOOK_MS = 20;
/** The answers of a peer that died, is not back, or is going. */
const DOUBT: ReadonlySet<string> = new Set(['PEER_LOST', 'NO_PEER', 'STOPPING']);

/** Writes its lines in order through one peer and survives it: what is in doubt is sent again, in order, under the same keys. */
export class Author {
  readonly peer: Peer;
  readonly lines: readonly Utterance[];
  /** The best answer to each line so far; a line that has one counts as acknowledged. */
  readonly answers: (Appended | undefined)[];
  /** How many lines it may write for now. */
  granted = 0;
  acknowledged = 0;
  /** Lines that were sent again. */
  repeated = 0;
  readonly #random: Random;
  readonly #keys: string;
  #stopped = false;

  /** @param keys of its lines, before their numbers: another author at the same peer has others */
  constructor(peer: Peer, lines: readonly Utterance[], random: Random, keys = 'line') {
    this.#keys = keys;
    this.peer = peer;
    this.lines = lines;
    this.answers = lines.map(() => undefined);
    this.#random = random;
  }

  get isDone(): boolean {
    return this.acknowledged === this.lines.length;
  }

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    while (!this.isDone && !this.#stopped) {
      const service = await this.peer.service().catch(this.#doubt);
      if (service === null || !(await this.#write(service))) await sleep(LOOK_MS);
    }
  }

  /** Writes from the first line without an answer on. False where the peer was lost on the way. */
  async #write(service: PeerService): Promise<boolean> {
    const underWay = new Set<Promise<void>>();
    let isLost = false;
    for (let at = this.answers.indexOf(undefined); at < this.lines.length; at++) {
      while (!isLost && !this.#stopped && (underWay.size >= IN_FLIGHT || at >= this.granted)) {
        await Promise.race([...underWay, sleep(LOOK_MS)]);
      }
      if (isLost || this.#stopped) break;
      const one = this.#append(service, at)
        .then((isAnswered) => {
          if (!isAnswered) isLost = true;
        })
        .finally(() => underWay.delete(one));
      underWay.add(one);
    }
    await Promise.all(underWay);
    return !isLost;
  }

  async #append(service: PeerService, at: number): Promise<boolean> {
    const { text, speaker } = this.lines[at] as Utterance;
    if (at < this.#sent) this.repeated++;
    this.#sent = Math.max(this.#sent, at + 1);
    const wait = this.#random.chance(0.5) ? 'saved' : 'committed';
    const params = { text, writer: speaker, key: `${this.#keys} ${at}`, wait, timeoutMs: PATIENCE_MS } as const;
    const answer = await service.append(params, never).catch(this.#doubt);
    if (answer === null) return false;
    const before = this.answers[at];
    if (before === undefined) this.acknowledged++;
    // The same key is the same entry, and a position once told never moves.
    else expect(answer.id).toBe(before.id);
    if (before?.position && answer.position) expect(answer.position).toBe(before.position);
    if (!before?.position) this.answers[at] = answer;
    return true;
  }

  #sent = 0;

  readonly #doubt = (error: unknown): null => {
    if (error instanceof PeerError && DOUBT.has(error.code)) return null;
    throw error;
  };
}

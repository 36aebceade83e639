import { describe, expect, it } from 'vitest';
import { incarnationFromBytes, peerFromKey } from '../../shared/base/ids.ts';
import { Random } from '../../shared/base/random.ts';
import type { KvRow } from '../../shared/driver/store.ts';
import { Greetings } from '../../shared/replica/greetings.ts';
import { type IdentityVerdict, judgeSeen, Lineage, Sightings } from '../../shared/replica/identity.ts';
import { Log } from '../document/fixture.ts';
import { Desk, must, settle } from '../session/desk.ts';
import { lived, open } from './fixture.ts';

const ana = peerFromKey(new Uint8Array(32).fill(1));
const incarnation = incarnationFromBytes(new Uint8Array(16).fill(1));
const nonce = (n: number): Uint8Array => new Uint8Array(8).fill(n);

/** What Ben saw of Ana's stores, on the disk of his. */
class Ben {
  sightings = new Sightings();

  restarts(): void {
    const rows = this.sightings.takeOps(true).flatMap((op): KvRow[] => (op.type === 'put' ? [[op.key, op.value]] : []));
    if (rows.length > 0) this.sightings = new Sightings(rows);
  }

  /** Of one of Ana's runs. */
  sawOf(n: number): number[] {
    return this.sightings.of(ana).flatMap((seen) => (seen.nonce[0] === n ? [seen.turn] : []));
  }
}

/** A directory of Ana's, and how its runs come and go. Ben hears them; what he saw is held against them where a test says so. */
class Directory {
  turn: number;
  readonly #ben: Ben;
  #runs: Uint8Array | undefined;
  #nonce: Uint8Array;
  #lineage: Lineage;

  /** @param n names its run */
  constructor(n: number, ben: Ben, turn = 1, runs?: Uint8Array) {
    this.turn = turn;
    this.#ben = ben;
    this.#runs = runs;
    this.#nonce = nonce(n);
    this.#lineage = new Lineage(runs, this.#nonce, turn);
  }

  restarts(n: number): this {
    this.#nonce = nonce(n);
    this.#lineage = new Lineage(this.#runs, this.#nonce, this.turn);
    return this;
  }

  writes(turns = 1): this {
    if (turns === 0) return this;
    const [noted] = this.#lineage.takeOps();
    if (noted?.type === 'put') this.#runs = noted.value;
    this.turn += turns;
    return this;
  }

  speaks(): this {
    this.#ben.sightings.frame(ana, incarnation, this.#nonce, this.#lineage.tells(this.turn));
    return this;
  }

  /** As another machine starts it, or as it is put back later. */
  copy(n: number): Directory {
    return new Directory(n, this.#ben, this.turn, this.#runs);
  }

  hears(): string | null {
    const own = { incarnation, turn: this.turn, lineage: this.#lineage, formers: [] };
    return judgeSeen(own, this.#ben.sightings.of(ana), 'Ben')?.code ?? null;
  }
}

describe('a store that is what it was', () => {
  it('is held to be nothing else, however its runs end and whatever came of them', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const ben = new Ben();
      const store = new Directory(1, ben);
      for (let n = 2; n < 200; n++) {
        if (random.chance(0.5)) store.speaks();
        if (random.chance(0.6)) store.writes(random.below(3));
        if (random.chance(0.7)) store.speaks();
        if (random.chance(0.1)) ben.restarts();
        expect(store.hears(), `seed ${seed}, run ${n}`).toBeNull();
        if (random.chance(0.8)) store.restarts(n);
      }
    }
  });

  it('tells its turn from its first batch on, or at once where none of its runs is noted yet', () => {
    const ben = new Ben();
    const store = new Directory(1, ben, 7).speaks();
    expect(ben.sawOf(1)).toEqual([7]);
    store.writes().restarts(2).speaks();
    expect(ben.sawOf(2)).toEqual([]);
    store.writes().speaks();
    expect(ben.sawOf(2)).toEqual([9]);
  });
});

describe('a store that was put back', () => {
  it('is told so once a link leads both ways, however often it started before', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const ben = new Ben();
      const original = new Directory(1, ben).writes(1 + random.below(5));
      const back = original.copy(100);
      for (let n = 2; n < 6; n++)
        original
          .restarts(n)
          .writes(2 + random.below(10))
          .speaks();
      for (let n = 101; n < 150; n++) {
        back.writes(random.below(4)).speaks();
        if (random.chance(0.1)) ben.restarts();
        expect(back.hears(), `seed ${seed}, run ${n}`).toBe('ROLLED_BACK');
        back.restarts(n);
      }
      // And should the original have been alive all the while, so is it.
      expect(original.restarts(6).hears(), `seed ${seed}`).toBe('ROLLED_BACK');
    }
  });

  it('Ben remembers no more of it for that', () => {
    const ben = new Ben();
    const original = new Directory(1, ben).writes();
    const back = original.copy(100);
    original.writes(20).speaks();
    for (let n = 101; n < 150; n++) back.writes().speaks().restarts(n);
    expect(ben.sightings.of(ana).length).toBeLessThanOrEqual(4);
    expect(ben.sawOf(1)).toEqual([22]);
  });
});

describe('a copy', () => {
  it('that said something is noticed, also where it ended with the very turn with which a run of the original begins', () => {
    const ben = new Ben();
    const original = new Directory(1, ben).writes(4);
    original.copy(100).writes().speaks();
    original.restarts(2).writes().restarts(3).writes(3).speaks();
    expect(original.hears()).toBe('ROLLED_BACK');
  });

  it('that has written nothing is held against nobody, and hears itself that it is one', () => {
    const ben = new Ben();
    const original = new Directory(1, ben).writes(4).speaks();
    const copy = original.copy(100).speaks();
    original.writes(2).speaks();
    copy.speaks();
    expect([original.hears(), copy.hears()]).toEqual([null, 'ROLLED_BACK']);
    // Once it has, it is one of two for both.
    copy.writes().speaks();
    expect([original.hears(), copy.hears()]).toEqual(['ROLLED_BACK', 'ROLLED_BACK']);
  });
});

describe('a store that was put back, and does not know any more what it was called before', () => {
  const called = (n: number) => incarnationFromBytes(new Uint8Array(16).fill(n));

  /** @returns what it makes of it that Ben saw a run that is not known to it, and another store of this machine */
  function judges(other: number): string | undefined {
    const log = new Log();
    const [first, second] = [log.join('Ben'), log.author('Ben', 2)];
    const ben = new Desk(log, second, new Desk(log, first).disk);
    must(ben.outbox.openSession(ben.written));
    settle(log, ben);
    const { peer, incarnation } = second.session;
    const verdicts: IdentityVerdict[] = [];
    const greetings = new Greetings({
      self: peer,
      store: { ...open(lived()), incarnation, reborn: null, problems: [] },
      presence: { nonce: nonce(1), turn: () => 10 },
      reader: log.read,
      say: () => undefined,
      onVerdict: (verdict) => verdicts.push(verdict),
    });
    const seen = [
      { incarnation: called(other), nonce: nonce(8), turn: 4, twice: false },
      { incarnation, nonce: nonce(9), turn: 20, twice: false },
    ];
    const head = { epoch: new Uint8Array(32), incarnation: called(7), nonce: nonce(7), turn: 3 };
    const greeting = { layer: 'session', message: { type: 'greeting', asks: false, seen } } as const;
    void greetings.receive(ana, head, greeting, () => undefined);
    return verdicts[0]?.code;
  }

  it('is reborn, and asks nobody, where the log ended that other one', () => {
    expect(judges(1)).toBe('ROLLED_BACK');
  });

  it('asks where that other one may be the one that went on', () => {
    expect(judges(3)).toBe('REPLACED');
  });
});

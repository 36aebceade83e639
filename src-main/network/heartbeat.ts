import { Liveness } from './liveness.ts';

/** Unanswered pings whose answer would still be measured. */
const PINGS_MAX = 32;

interface HeartbeatInit {
  /** Monotonic, milliseconds. */
  readonly now: () => number;
  readonly sendPing: (nonce: number) => void;
}

/** Pings one connection: is it alive, and how long is its round trip? */
export class Heartbeat {
  readonly #init: HeartbeatInit;
  readonly #liveness: Liveness;
  readonly #sentMs = new Map<number, number>();
  #nonce = 0;
  #rttMs: number | null = null;
  #rttMinMs: number | null = null;
  #probes: ((alive: boolean) => void)[] = [];

  constructor(init: HeartbeatInit) {
    this.#init = init;
    this.#liveness = new Liveness(init.now());
  }

  /** The last measured round trip. Milliseconds. */
  get rttMs(): number | null {
    return this.#rttMs;
  }

  /** The shortest one: what the bare line takes. Milliseconds. */
  get rttMinMs(): number | null {
    return this.#rttMinMs;
  }

  get isSilent(): boolean {
    return this.#liveness.isSilent(this.#init.now());
  }

  get silenceLimitMs(): number {
    return this.#liveness.silenceLimitMs();
  }

  ping(): void {
    if (this.#sentMs.size >= PINGS_MAX) this.#sentMs.delete(this.#sentMs.keys().next().value as number);
    this.#sentMs.set(++this.#nonce, this.#init.now());
    this.#init.sendPing(this.#nonce);
  }

  pong(nonce: number): void {
    const sentMs = this.#sentMs.get(nonce);
    if (sentMs === undefined) return;
    this.#sentMs.delete(nonce);
    this.#rttMs = this.#init.now() - sentMs;
    this.#rttMinMs = Math.min(this.#rttMs, this.#rttMinMs ?? this.#rttMs);
  }

  /** Anything at all arrived. */
  heard(): void {
    this.#liveness.heard(this.#init.now());
    if (this.#probes.length > 0) this.#endProbes(true);
  }

  /** This process stood still; see Liveness. */
  forgive(): void {
    this.#liveness.forgive(this.#init.now());
  }

  /** True once anything is heard; false after `ms` of silence or at the end. */
  probe(ms: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), ms);
      timer.unref();
      this.#probes.push((alive) => {
        clearTimeout(timer);
        resolve(alive);
      });
      this.ping();
    });
  }

  end(): void {
    this.#endProbes(false);
  }

  #endProbes(alive: boolean): void {
    const probes = this.#probes;
    this.#probes = [];
    for (const done of probes) done(alive);
  }
}

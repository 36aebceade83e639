// The links between peers, in the hands of a test: each can be cut, both ways or one way, delayed, or slowed down. No rights are needed, on any system.
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { type Peer, type PeerArgs, World } from '../harness.ts';

/** Taken from one side and not passed on yet: above this its sender has to wait. Bytes. */
const HELD_BYTES_MAX = 64 * 1024;

/** How one direction of a link behaves. */
interface Manner {
  /** Nothing passes; what is sent waits, as it does for a cable that is pulled: TCP would send it again. */
  readonly isCut: boolean;
  readonly delayMs: number;
  readonly bytesPerSecond: number;
}
const SOUND: Manner = { isCut: false, delayMs: 0, bytesPerSecond: Number.POSITIVE_INFINITY };

/** One direction of one connection. */
class Pump {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #manner: () => Manner;
  readonly #held: { readonly bytes: Buffer; readonly dueMs: number }[] = [];
  #heldBytes = 0;
  #isEnded = false;
  /** The line is busy until then. */
  #freeMs = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(from: Socket, to: Socket, manner: () => Manner) {
    this.#from = from;
    this.#to = to;
    this.#manner = manner;
    from.on('data', (bytes) => {
      this.#held.push({ bytes, dueMs: performance.now() + manner().delayMs });
      this.#heldBytes += bytes.length;
      if (this.#heldBytes > HELD_BYTES_MAX) from.pause();
      this.flow();
    });
    from.on('error', () => undefined);
    from.once('close', () => {
      this.#isEnded = true;
      this.flow();
    });
    to.on('drain', () => this.flow());
  }

  /** Passes on what may pass now. Nobody hears through a cut that the other side has gone. */
  flow(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    while (!this.#manner().isCut) {
      const [next] = this.#held;
      if (next === undefined) {
        if (this.#isEnded) this.#to.destroy();
        return;
      }
      const waitMs = Math.max(next.dueMs, this.#freeMs) - performance.now();
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flow(), waitMs);
        return;
      }
      if (this.#to.writableNeedDrain) return;
      this.#held.shift();
      this.#heldBytes -= next.bytes.length;
      this.#freeMs = performance.now() + (next.bytes.length / this.#manner().bytesPerSecond) * 1_000;
      if (!this.#to.destroyed) this.#to.write(next.bytes);
      if (this.#heldBytes <= HELD_BYTES_MAX) this.#from.resume();
    }
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#from.destroy();
    this.#to.destroy();
  }
}

/** A world whose peers dial each other through this test. */
export class Links {
  readonly world: World;
  readonly #boards = new Map<string, Server>();
  readonly #manners = new Map<string, Manner>();
  readonly #pumps = new Set<Pump>();

  private constructor(serveArgs: (name: string) => readonly string[]) {
    const argsOf = (name: string): PeerArgs => ({ nodeArgs: this.#nodeArgs(name), serveArgs: serveArgs(name) });
    this.world = new World({ argsOf });
  }

  /** @param names whom there will be */
  static async between(
    names: readonly string[],
    serveArgs: (name: string) => readonly string[] = () => [],
  ): Promise<Links> {
    const links = new Links(serveArgs);
    for (const name of names) {
      const board = createServer((socket) => links.#taken(name, socket)).listen(0, '127.0.0.1');
      await once(board, 'listening');
      links.#boards.set(name, board);
    }
    return links;
  }

  /** Nothing passes between the two, in either direction. Connections stay open, new ones are taken and never answered. */
  cut(one: Peer, other: Peer): void {
    this.#set(one, other, { ...SOUND, isCut: true });
    this.#set(other, one, { ...SOUND, isCut: true });
  }

  /** Nothing passes from the one to the other. Connections stay open. */
  cutOneWay(from: Peer, to: Peer): void {
    this.#set(from, to, { ...SOUND, isCut: true });
  }

  /** Each way. */
  delay(one: Peer, other: Peer, delayMs: number): void {
    this.#set(one, other, { ...SOUND, delayMs });
    this.#set(other, one, { ...SOUND, delayMs });
  }

  throttle(from: Peer, to: Peer, bytesPerSecond: number): void {
    this.#set(from, to, { ...SOUND, bytesPerSecond });
  }

  /** All links are as they were at first, and what was held back goes on. */
  heal(): void {
    this.#manners.clear();
    for (const pump of this.#pumps) pump.flow();
  }

  async close(): Promise<string[]> {
    const troubles = await this.world.close();
    for (const pump of this.#pumps) pump.stop();
    for (const board of this.#boards.values()) board.close();
    return troubles;
  }

  #nodeArgs(name: string): readonly string[] {
    const address = this.#boards.get(name)?.address() as { port: number };
    const detour = new URL('./detour.ts', import.meta.url);
    detour.searchParams.set('board', String(address.port));
    return ['--import', detour.href];
  }

  #set(from: Peer, to: Peer, manner: Manner): void {
    this.#manners.set(key(from.name, to.name), manner);
  }

  /** Somebody dialled: whom, say the first two bytes. */
  #taken(dialler: string, near: Socket): void {
    near.on('error', () => undefined);
    near.once('readable', () => {
      const meant: Buffer | null = near.read(2);
      if (meant === null) return void near.destroy();
      const port = meant.readUInt16BE();
      const dialled = this.world.peers.find(({ address }) => address.includes(`/tcp/${port}/`))?.name ?? '';
      const far = connect(port, '127.0.0.1');
      far.on('error', () => near.destroy());
      const manner = (from: string, to: string) => () => this.#manners.get(key(from, to)) ?? SOUND;
      const pumps = [
        new Pump(near, far, manner(dialler, dialled)),
        new Pump(far, near, manner(dialled, dialler)),
      ] as const;
      for (const pump of pumps) this.#pumps.add(pump);
      let open = pumps.length;
      const closed = (): void => {
        if (--open === 0) for (const pump of pumps) this.#pumps.delete(pump);
      };
      near.once('close', closed);
      far.once('close', closed);
    });
  }
}

const key = (from: string, to: string): string => `${from} to ${to}`;

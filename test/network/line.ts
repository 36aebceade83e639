import { connect, createServer, type Server, type Socket } from 'node:net';

/** A TCP line on loopback to `port` that can fall silent without closing anything, as a pulled cable does. */
export class Line {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async to(port: number): Promise<Line> {
    let line: Line;
    const server = createServer((near) => line.#join(near, connect(port, '127.0.0.1')));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    line = new Line(server, (server.address() as { port: number }).port);
    return line;
  }

  get address(): string {
    return `/ip4/127.0.0.1/tcp/${this.port}`;
  }

  /** Nothing passes any more; what is sent waits. */
  silence(): void {
    this.#isSilent = true;
    for (const socket of this.#sockets) socket.pause();
  }

  speak(): void {
    this.#isSilent = false;
    for (const socket of this.#sockets) socket.resume();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(near: Socket, far: Socket): void {
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on('data', (bytes) => to.write(bytes));
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        if (!this.#isSilent) to.destroy();
      });
      if (this.#isSilent) from.pause();
    }
  }
}

import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PeerError } from '../../shared/ipc/errors.ts';

/** A loopback address and a port on it; 0 for any that is free. */
export interface LoopbackPlace {
  readonly host: string;
  readonly port: number;
}

/**
 * The values of `Host` that lead to a server by its own address or as `localhost`. Another name that leads there belongs to somebody's page, which must not
 * speak as one of ours.
 */
export const ownHosts = ({ host, port }: LoopbackPlace): readonly string[] =>
  [host.includes(':') ? `[${host}]` : host, 'localhost'].map((name) => new URL(`http://${name}:${port}`).host);

/** Turns a request away. */
export function refuse(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...headers, 'x-content-type-options': 'nosniff', connection: 'close' }).end();
}

/** Opens a server for the programs of this machine. Resolves to its port. @throws PeerError PORT_IN_USE, BAD_ADDRESS */
export async function listenOn(server: Server, { host, port }: LoopbackPlace): Promise<number> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host, port }, () => {
        server.off('error', reject);
        resolve();
      });
    });
    return (server.address() as AddressInfo).port;
  } catch (error) {
    const message = SAID[(error as NodeJS.ErrnoException).code ?? '']?.({ host, port });
    if (message === undefined) throw error;
    const [code, words] = message;
    throw new PeerError(code, words, { cause: error });
  }
}

const SAID: Readonly<Record<string, (place: LoopbackPlace) => readonly ['PORT_IN_USE' | 'BAD_ADDRESS', string]>> = {
  EADDRINUSE: ({ host, port }) => ['PORT_IN_USE', `Port ${port} of ${host} is taken. Name another one, or 0 for any.`],
  EACCES: ({ port }) => ['BAD_ADDRESS', `This user may not open port ${port}. Name one from 1024, or 0 for any.`],
  EADDRNOTAVAIL: ({ host }) => ['BAD_ADDRESS', `This machine has no address ${host}. Name 127.0.0.1.`],
};

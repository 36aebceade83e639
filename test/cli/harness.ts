import type { PeerService } from '../../shared/ipc/contract.ts';
import { PeerError } from '../../shared/ipc/errors.ts';
import type { Io } from '../../src-main/cli/io.ts';
import { main } from '../../src-main/cli/main.ts';

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Standard output as the objects of its lines. */
  readonly objects: Record<string, unknown>[];
}

export interface Surroundings {
  readonly service?: PeerService | null;
  readonly stdin?: string | Uint8Array | AsyncIterable<Uint8Array>;
  readonly io?: Partial<Io>;
}

/** Runs one command line against a service, without a process and without a socket. */
export async function synod(args: readonly string[], surroundings: Surroundings = {}): Promise<Outcome> {
  const { service, stdin = '', io } = surroundings;
  let out = '';
  let err = '';
  const code = await main(args, {
    stdin: () => (typeof stdin === 'string' || stdin instanceof Uint8Array ? chunks(stdin) : stdin),
    out: async (text) => {
      out += text;
    },
    err: async (text) => {
      err += text;
    },
    env: { SYNOD_DIR: '/data' },
    platform: 'linux',
    home: '/home/ana',
    cwd: '/work',
    colour: false,
    signal: new AbortController().signal,
    connect: async (dir) => {
      if (!service) throw new PeerError('NO_PEER', `No peer is running for ${dir}.`);
      return { service, close: () => {} };
    },
    ...io,
  });
  return {
    code,
    out,
    err,
    get objects() {
      return out
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    },
  };
}

/** In odd pieces, small ones where there is time for it, so that characters and line ends are cut in two. */
async function* chunks(input: string | Uint8Array): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(input);
  const size = bytes.length < 10_000 ? 7 : 65_521;
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

import type { PeerConnection } from './client.ts';

/** A way out for text. Resolves once more may be written, so that what waits for a slow reader stays bounded. */
export type Write = (text: string) => Promise<void>;

/** Everything that a command has to do with its surroundings. */
export interface Io {
  readonly stdin: () => AsyncIterable<Uint8Array>;
  readonly out: Write;
  readonly err: Write;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
  readonly cwd: string;
  /** Whether standard output takes colour. */
  readonly colour: boolean;
  /** Aborted when the person interrupts, or when nobody reads the output any more. */
  readonly signal: AbortSignal;
  connect(dir: string, signal: AbortSignal): Promise<PeerConnection>;
}

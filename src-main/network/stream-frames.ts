import type { Stream } from '@libp2p/interface';
import { FormatError } from '../../shared/base/cbor.ts';
import { FrameDecoder, FrameError } from './framing.ts';
import { quietWindow } from './quiet-window.ts';

interface FrameReader {
  readonly bodyBytesMax: number;
  /** Bytes of a chunk, before its frames. */
  readonly onBytes?: (bytes: number) => void;
  /** May throw FormatError. */
  readonly onBody: (body: Uint8Array) => void;
  /** The stream can't be read any further. Called at most once. */
  readonly onBad: (error: FrameError) => void;
}

/** Reads a stream from now on. Call it in the turn in which the stream is handed over. */
export function readFrames(stream: Stream, reader: FrameReader): void {
  quietWindow(stream);
  const decoder = new FrameDecoder(reader.bodyBytesMax);
  let bad = false;
  stream.addEventListener('message', ({ data }) => {
    if (bad) return;
    reader.onBytes?.(data.byteLength);
    try {
      if (data instanceof Uint8Array) decoder.push(data, reader.onBody);
      else for (const part of data) decoder.push(part, reader.onBody);
    } catch (error) {
      bad = true;
      reader.onBad(asFrameError(error));
    }
  });
}

function asFrameError(error: unknown): FrameError {
  if (error instanceof FrameError) return error;
  if (error instanceof FormatError) return new FrameError('FRAME_BAD', error.message);
  throw error;
}

/** `pause` and `resume` throw on a stream that closes; backpressure no longer matters there. */
export function streamSource(stream: Stream): { pause(): void; resume(): void } {
  const isReadable = (): boolean => stream.readStatus === 'readable' || stream.readStatus === 'paused';
  return {
    pause: () => {
      if (isReadable()) stream.pause();
    },
    resume: () => {
      if (isReadable()) stream.resume();
    },
  };
}

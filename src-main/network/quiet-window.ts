import type { Stream } from '@libp2p/interface';

/** What js-libp2p's yamux keeps of a stream's receive window, as of the pinned version. */
interface YamuxWindow {
  state: number;
  /** Bytes that the other side may send in all, and may still send. */
  recvWindow: number;
  recvWindowCapacity: number;
  sendWindowUpdate(): void;
}

/** yamux's own number for a stream in use. */
const ESTABLISHED = 3;

/**
 * js-libp2p's yamux answers every single frame with a window update: a packet, its encryption and its decryption for nothing. As yamux' specification suggests, this stream
 * sends one only once half of the window is used. A stream that looks otherwise than expected is left alone.
 */
export function quietWindow(stream: Stream): void {
  const window = stream as unknown as YamuxWindow;
  const isKnown =
    typeof window.sendWindowUpdate === 'function' &&
    typeof window.recvWindow === 'number' &&
    typeof window.recvWindowCapacity === 'number';
  if (!isKnown) return;
  const update = window.sendWindowUpdate.bind(stream);
  window.sendWindowUpdate = (): void => {
    if (window.state === ESTABLISHED && window.recvWindowCapacity >= window.recvWindow / 2) return;
    update();
  };
}

import type { OpenWire, Wire } from './wire.ts';

/** What Electron's preload script puts on the page. */
export interface SynodBridge {
  connect(onText: (text: string) => void, onEnd: () => void): Wire;
}

/** Texts by way of Electron's own channel. */
export const openBridge =
  (bridge: SynodBridge): OpenWire =>
  (events) => {
    let isOver = false;
    const wire = bridge.connect(
      (text) => {
        if (!isOver) events.text(text);
      },
      () => {
        if (!isOver) events.ended();
        isOver = true;
      },
    );
    // After the owner has the wire in its hands.
    queueMicrotask(() => {
      if (!isOver) events.opened();
    });
    return {
      send: (text) => wire.send(text),
      pause: () => wire.pause(),
      resume: () => wire.resume(),
      close() {
        isOver = true;
        wire.close();
      },
    };
  };

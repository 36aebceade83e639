import { contextBridge, ipcRenderer } from 'electron';
import { BRIDGE_CHANNEL, type Bridge } from '../../shared/ipc/bridge.ts';

interface Line {
  readonly onText: (text: string) => void;
  readonly onEnd: () => void;
  paused: boolean;
  /** UTF-16 units that were taken and not reported. */
  owed: number;
}

const page = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join('-');
const lines = new Map<number, Line>();
let nextLine = 1;

function report(id: number, line: Line): void {
  if (line.paused || line.owed === 0) return;
  ipcRenderer.send(BRIDGE_CHANNEL, page, id, 'took', line.owed);
  line.owed = 0;
}

ipcRenderer.on(BRIDGE_CHANNEL, (_event, to: string, id: number, texts: readonly string[] | null) => {
  const line = to === page ? lines.get(id) : undefined;
  if (line === undefined) return;
  if (texts === null) {
    lines.delete(id);
    line.onEnd();
    return;
  }
  for (const text of texts) {
    line.owed += text.length;
    line.onText(text);
  }
  if (lines.has(id)) report(id, line);
});

const bridge: Bridge = {
  connect(onText, onEnd) {
    const id = nextLine++;
    const line: Line = { onText, onEnd, paused: false, owed: 0 };
    lines.set(id, line);
    ipcRenderer.send(BRIDGE_CHANNEL, page, id, 'open');
    return {
      send(text) {
        if (lines.has(id)) ipcRenderer.send(BRIDGE_CHANNEL, page, id, 'text', text);
      },
      pause() {
        line.paused = true;
      },
      resume() {
        line.paused = false;
        if (lines.has(id)) report(id, line);
      },
      close() {
        if (lines.delete(id)) ipcRenderer.send(BRIDGE_CHANNEL, page, id, 'close');
      },
    };
  },
};

contextBridge.exposeInMainWorld('synod', bridge);

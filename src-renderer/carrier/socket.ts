import { PROTOCOL, WRONG_TOKEN_CLOSE } from '../../shared/ipc/messages.ts';
import type { OpenWire } from './wire.ts';

/** What may arrive while reading is paused. A page can't stop its socket, so beyond this it hangs up and attaches anew. UTF-16 units. */
const HELD_MAX = 32 * 1024 * 1024;

/** Texts by way of a WebSocket to the peer that serves this page. A browser can send no header with it, so the token goes as a subprotocol. */
export const openSocket =
  (url: string, token: string): OpenWire =>
  (events) => {
    const socket = new WebSocket(url, [PROTOCOL, `token.${token}`]);
    let held: string[] = [];
    let heldSize = 0;
    let isPaused = false;
    let isOver = false;

    const end = (code = 0): void => {
      if (isOver) return;
      isOver = true;
      held = [];
      socket.close();
      if (code === WRONG_TOKEN_CLOSE) events.refused();
      else events.ended();
    };
    socket.onopen = () => {
      if (!isOver) events.opened();
    };
    socket.onclose = ({ code }) => end(code);
    socket.onmessage = ({ data }) => {
      if (isOver || typeof data !== 'string') return;
      if (!isPaused) return events.text(data);
      held.push(data);
      heldSize += data.length;
      if (heldSize > HELD_MAX) end();
    };
    return {
      send(text) {
        if (socket.readyState === WebSocket.OPEN) socket.send(text);
      },
      pause() {
        isPaused = true;
      },
      resume() {
        isPaused = false;
        while (!isPaused && !isOver) {
          const text = held.shift();
          if (text === undefined) break;
          heldSize -= text.length;
          events.text(text);
        }
      },
      close() {
        isOver = true;
        held = [];
        socket.close();
      },
    };
  };

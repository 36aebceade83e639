import { describe, expect, test } from 'vitest';
import { fromUtf8, utf8 } from '../../shared/base/bytes.ts';
import { JOIN_FRAME_BYTES_MAX, JoinDialError, type JoinStream } from '../../src-main/network/network.ts';
import type { Node } from './contract.ts';
import { deferred, rest, until } from './recorder.ts';

const never = (): AbortSignal => new AbortController().signal;

/** The part of the network contract about strangers who want in. */
export function joinContract(start: (seed: number) => Promise<Node>): void {
  describe('joining', () => {
    test('a conversation, frame by frame, with an end that both see', async () => {
      const host = await start(1);
      const guest = await start(2);
      const heard: string[] = [];
      host.network.setJoinDoor(async (stream) => {
        expect(stream.peer).toBe(guest.network.self);
        for (let frame = await stream.receive(never()); frame !== null; frame = await stream.receive(never())) {
          heard.push(fromUtf8(frame));
          stream.send(utf8(`you said ${fromUtf8(frame)}`));
        }
        heard.push('end');
      });
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      expect(stream.peer).toBe(host.network.self);
      expect(stream.address).toMatch(/^\/ip4\//);
      for (const words of ['hello', 'let me in']) {
        stream.send(utf8(words));
        expect(fromUtf8((await stream.receive(never())) as Uint8Array)).toBe(`you said ${words}`);
      }
      await stream.close();
      await until(() => heard.includes('end'), 'the end');
      expect(heard).toEqual(['hello', 'let me in', 'end']);
    });

    test('the host may end the conversation: its last frame still arrives', async () => {
      const host = await start(1);
      const guest = await start(2);
      host.network.setJoinDoor(async (stream) => stream.send(new Uint8Array(JOIN_FRAME_BYTES_MAX).fill(5)));
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      expect((await stream.receive(never()))?.length).toBe(JOIN_FRAME_BYTES_MAX);
      expect(await stream.receive(never())).toBeNull();
      expect(() => stream.send(new Uint8Array(JOIN_FRAME_BYTES_MAX + 1))).toThrow(RangeError);
    });

    test('joining makes no member: nothing but the join protocol is open', async () => {
      const host = await start(1);
      const guest = await start(2);
      const end = deferred();
      host.network.setJoinDoor(() => end.promise);
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      guest.network.setMembers([{ peer: host.network.self, addresses: host.network.addresses() }]);
      await rest(1_000);
      expect(host.events.connections.concat(guest.events.connections)).toEqual([]);
      end.resolve();
      await stream.close();
    });

    test('whoever has joined connects as a member, in the same moment', async () => {
      const host = await start(1);
      const guest = await start(2);
      host.network.setJoinDoor(async (stream) => {
        await stream.receive(never());
        host.network.setMembers([{ peer: stream.peer, addresses: [] }]);
        stream.send(utf8('welcome'));
      });
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      stream.send(utf8('please'));
      expect(await stream.receive(never())).not.toBeNull();
      guest.network.setMembers([{ peer: host.network.self, addresses: [stream.address] }]);
      await stream.close();
      await until(() => host.network.isConnected(guest.network.self), 'the member');
      await until(() => guest.network.isConnected(host.network.self), 'the host');
      await rest();
      expect(host.events.connectionsOf(guest.network.self)).toEqual([true]);
    });

    test('REFUSED while the door is shut, for members too', async () => {
      const host = await start(1);
      const guest = await start(2);
      const dial = (): Promise<string> =>
        codeOf(guest.network.dialJoin(host.network.self, host.network.addresses(), never()));
      expect(await dial()).toBe('REFUSED');
      host.network.setJoinDoor(async () => {});
      expect(await dial()).toBe('none');
      host.network.setJoinDoor(null);
      expect(await dial()).toBe('REFUSED');
      host.network.setMembers([{ peer: guest.network.self, addresses: [] }]);
      expect(await dial()).toBe('REFUSED');
    });

    test('shutting the door ends the conversations that are open', async () => {
      const host = await start(1);
      const guest = await start(2);
      host.network.setJoinDoor(async (stream) => {
        await stream.receive(never());
      });
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      const answer = stream.receive(never()).catch(() => 'broken');
      host.network.setJoinDoor(null);
      expect(await answer).toBe('broken');
    });

    test('a host whose side fails breaks the conversation, and goes on', async () => {
      const host = await start(1);
      const guest = await start(2);
      host.network.setJoinDoor(() => Promise.reject(new Error('no')));
      const outcome = await guest.network
        .dialJoin(host.network.self, host.network.addresses(), never())
        .then((stream) => stream.receive(never()))
        .catch((error: Error) => error.name);
      expect(outcome).not.toBeInstanceOf(Uint8Array);
      host.network.setJoinDoor(async () => {});
      expect(await codeOf(guest.network.dialJoin(host.network.self, host.network.addresses(), never()))).toBe('none');
    });

    test('eight strangers at a time, the ninth is refused until one goes', async () => {
      const host = await start(1);
      const end = deferred();
      host.network.setJoinDoor(() => end.promise);
      const guests = await Promise.all(Array.from({ length: 9 }, (_, n) => start(10 + n)));
      const streams: JoinStream[] = [];
      for (const guest of guests.slice(0, 8)) {
        streams.push(await guest.network.dialJoin(host.network.self, host.network.addresses(), never()));
      }
      const ninth = guests[8] as Node;
      const dial = (): Promise<string> =>
        codeOf(ninth.network.dialJoin(host.network.self, host.network.addresses(), never()));
      expect(await dial()).toBe('REFUSED');
      end.resolve();
      await Promise.all(streams.map((stream) => stream.close()));
      let code = await dial();
      // The host notices the others' leaving a moment later.
      for (let attempt = 0; code === 'REFUSED' && attempt < 50; attempt++) {
        await rest(20);
        code = await dial();
      }
      expect(code).toBe('none');
    });

    test('WRONG_PEER where somebody else answers', async () => {
      const [host, other, guest] = [await start(1), await start(2), await start(3)];
      for (const { network } of [host, other]) network.setJoinDoor(async () => {});
      expect(await codeOf(guest.network.dialJoin(host.network.self, bare(other), never()))).toBe('WRONG_PEER');
      const both = [...bare(other), ...bare(host)];
      expect(await codeOf(guest.network.dialJoin(host.network.self, both, never()))).toBe('none');
    });

    test('NO_ANSWER where nobody is', async () => {
      const [host, guest] = [await start(1), await start(2)];
      const addresses = bare(host);
      await host.network.stop();
      expect(await codeOf(guest.network.dialJoin(host.network.self, addresses, never()))).toBe('NO_ANSWER');
      expect(await codeOf(guest.network.dialJoin(host.network.self, [], never()))).toBe('NO_ANSWER');
    });

    test('ABORTED where the signal says so', async () => {
      const [host, guest] = [await start(1), await start(2)];
      host.network.setJoinDoor(async () => {});
      const dial = guest.network.dialJoin(host.network.self, host.network.addresses(), AbortSignal.abort());
      expect(await codeOf(dial)).toBe('ABORTED');
      const stream = await guest.network.dialJoin(host.network.self, host.network.addresses(), never());
      await expect(stream.receive(AbortSignal.abort())).rejects.toThrow();
    });

    test('host:port will do', async () => {
      const [host, guest] = [await start(1), await start(2)];
      host.network.setJoinDoor(async () => {});
      const port = /tcp\/(\d+)/.exec(bare(host)[0] as string)?.[1];
      expect(await codeOf(guest.network.dialJoin(host.network.self, [`127.0.0.1:${port}`], never()))).toBe('none');
    });
  });
}

const bare = ({ network }: Node): string[] => network.addresses().map((address) => address.split('/p2p/')[0] as string);

/** The error's code, or `none` after a conversation that is closed again. */
async function codeOf(dial: Promise<JoinStream>): Promise<string> {
  try {
    const stream = await dial;
    await stream.close();
    return 'none';
  } catch (error) {
    if (error instanceof JoinDialError) return error.code;
    throw error;
  }
}

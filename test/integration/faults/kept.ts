// What must hold after any fault: nothing that was acknowledged is lost or doubled, and everybody agrees.
import { expect } from 'vitest';
import { Random } from '../../../shared/base/random.ts';
import { Author } from '../author.ts';
import { type Peer, untilAgreed } from '../harness.ts';

/** Writers at once, one at each of these peers, with so many lines each. */
export function authorsAt(peers: readonly Peer[], lines: number, seed: number, run: string): Author[] {
  return peers.map((peer, at) => {
    const texts = Array.from({ length: lines }, (_, n) => ({ speaker: peer.name, text: `${peer.name}${run} ${n}` }));
    return new Author(peer, texts, new Random(seed + at), run);
  });
}

/**
 * All are equal; each author's lines stand there once, in its order, where they were said to stand. Beside them may stand what others wrote.
 */
export async function expectKept(peers: readonly Peer[], authors: readonly Author[]): Promise<void> {
  await untilAgreed(...peers);
  const logs = await Promise.all(peers.map((peer) => peer.synod('log')));
  for (const log of logs) expect(log).toMatchObject({ code: 0 });
  for (const { out } of logs.slice(1)) expect(out === logs[0]?.out, 'the logs are one, to the letter').toBe(true);
  const log = logs[0]?.lines ?? [];
  expect(log.map(({ position }) => position)).toEqual(log.map((_, at) => at + 1));
  for (const { peer, lines, answers } of authors) {
    const texts = new Set(lines.map(({ text }) => text));
    const written = log.filter(({ author, text }) => author === peer.id && texts.has(text));
    expect(written.map(({ text }) => text)).toEqual(lines.map(({ text }) => text));
    expect(answers.map((answer) => answer?.id)).toEqual(written.map(({ id }) => id));
    for (const [at, answer] of answers.entries()) {
      if (answer?.position) expect(written[at].position, `${lines[at]?.text} has moved`).toBe(answer.position);
    }
  }
}

/** Stops them all cleanly, and reads every record. */
export async function expectVerified(peers: readonly Peer[]): Promise<void> {
  expect(await Promise.all(peers.map((peer) => peer.stop()))).toEqual(peers.map(() => 0));
  for (const peer of peers) expect(await peer.does('verify')).toMatchObject([{ ok: true, problems: [] }]);
}

// The record of a whole mission, written through three peers that are killed all the time.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Random } from '../../shared/base/random.ts';
import { Author } from './author.ts';
import { type Peer, until, untilAgreed, worldForEach } from './harness.ts';
import { transcript, type Utterance } from './transcript.ts';

const SEED = Number(process.env.SYNOD_RECORD_SEED ?? 13);
/** SYNOD_RECORD_LINES takes a prefix of the record. */
const LINES_MAX = Number(process.env.SYNOD_RECORD_LINES ?? Number.POSITIVE_INFINITY);
/** Lines, of all three together, in which somebody is killed once. */
const LINES_PER_KILL = 300;
const world = worldForEach();

test('a record survives its peers: same places, same letters, nothing lost and nothing twice', {
  timeout: 900_000,
}, async () => {
  const { name, utterances: whole } = transcript();
  const utterances = whole.slice(0, LINES_MAX);
  const peers = await world().group('Houston', 'Odyssey', 'Aquarius');
  const random = new Random(SEED);
  const authors = peers.map(
    (peer, at) =>
      new Author(
        peer,
        utterances.filter((each) => placeOf(each) === at),
        new Random(SEED + at + 1),
      ),
  );

  const startedMs = performance.now();
  const writing = Promise.all(authors.map((author) => author.run()));
  const disturbing = disturb(peers, authors, random);
  await Promise.all([writing, disturbing]).finally(() => {
    for (const author of authors) author.stop();
  });
  const kills = await disturbing;
  const { positions } = await untilAgreed(...peers);
  const seconds = (performance.now() - startedMs) / 1_000;
  const repeated = authors.reduce((sum, author) => sum + author.repeated, 0);
  console.log(
    `${name}: ${positions} of ${whole.length} entries in ${seconds.toFixed(1)} s, ${Math.round(positions / seconds)}/s, ` +
      `through ${kills} kills (seed ${SEED}); ${repeated} appends sent again`,
  );

  // Nothing twice, nothing else.
  expect(positions).toBe(utterances.length);
  const logs = await Promise.all(peers.map((peer) => peer.synod('log')));
  expect(logs.map(({ code }) => code)).toEqual([0, 0, 0]);
  expect(logs[1]?.out === logs[0]?.out, 'the second log is the first, to the letter').toBe(true);
  expect(logs[2]?.out === logs[0]?.out, 'the third log is the first, to the letter').toBe(true);
  const log = logs[0]?.lines ?? [];
  expect(log.map(({ position }) => position)).toEqual(utterances.map((_, at) => at + 1));

  for (const { peer, lines, answers } of authors) {
    const written = log.filter(({ author }) => author === peer.id);
    // All of it, in its author's order, to the letter.
    expect(written.map(({ text, writer }) => `${writer}: ${text}`)).toEqual(
      lines.map(({ text, speaker }) => `${speaker}: ${text}`),
    );
    // What was acknowledged is where it was said to be.
    expect(answers.map((answer) => answer?.id)).toEqual(written.map(({ id }) => id));
    const places = answers.map((answer, at) => answer?.position ?? written[at].position);
    expect(places).toEqual(written.map(({ position }) => position));
  }

  expect(await Promise.all(peers.map((peer) => peer.stop()))).toEqual([0, 0, 0]);
  for (const peer of peers) expect(await peer.does('verify')).toMatchObject([{ ok: true, problems: [] }]);
});

const placeOf = ({ speaker }: Utterance): number => (speaker === 'CC' ? 0 : speaker === 'CDR' ? 1 : 2);

/** Lets the authors go on step by step and kills peers in every step. Returns how many were killed. */
async function disturb(peers: readonly Peer[], authors: readonly Author[], random: Random): Promise<number> {
  const total = authors.reduce((sum, { lines }) => sum + lines.length, 0);
  const steps = Math.max(4, Math.ceil(total / LINES_PER_KILL));
  const acknowledged = (): number => authors.reduce((sum, author) => sum + author.acknowledged, 0);
  let kills = 0;

  const kill = async (victims: readonly Peer[]): Promise<void> => {
    kills += victims.length;
    await Promise.all(victims.map((victim) => victim.kill()));
  };

  for (let step = 1; step <= steps; step++) {
    const before = acknowledged();
    for (const author of authors) author.granted = Math.ceil((author.lines.length * step) / steps);
    const granted = authors.reduce((sum, author) => sum + author.granted, 0);
    const target = before + Math.floor((granted - before) * random.number());
    await until(`${target} lines are acknowledged`, () => acknowledged() >= target);
    await sleep(random.below(30));

    const count = random.pick([1, 1, 1, 1, 1, 1, 2, 2, 3]);
    const victims = shuffled(peers, random).slice(0, count);
    await kill(victims);
    await sleep(random.below(1_200));
    for (const victim of victims) {
      const ready = victim.start();
      if (random.chance(0.15)) {
        // Again, before or soon after it is back.
        await sleep(random.below(1_000));
        await Promise.all([ready.catch(() => undefined), kill([victim])]);
        await victim.start();
      }
      await ready.catch(() => undefined);
    }
  }
  return kills;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const left = [...items];
  return items.map(() => left.splice(random.below(left.length), 1)[0] as T);
}

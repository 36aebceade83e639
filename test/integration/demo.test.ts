import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { root, until } from './harness.ts';

const demo = join(root, 'out/cli/demo.js');

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'synod-demo-test-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));

function start(...args: readonly string[]) {
  const child = spawn(process.execPath, [demo, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (said.out += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (said.err += text));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, ...said }));
  return { child, said, ended };
}

/** The processes whose command line names a directory. */
function processesOf(directory: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return ''; // it has just ended
      }
    })
    .filter((line) => line.includes(directory));
}

const entriesIn = (page: string): string[] => page.split('\n').filter((line) => /^ {2}#\d+ /.test(line));

test('three machines talk, and nothing stays behind', async () => {
  const { code, out, err } = await start('--once').ended;
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(entriesIn(out)).toHaveLength(13);
  expect(out).toMatch(/#5 +CDR +Houston, we’ve had a problem\./);
  const data = /Their data is in (\S+)/.exec(out)?.[1] as string;
  expect(data).toMatch(/synod-demo-/);
  expect(existsSync(data)).toBe(false);
  if (existsSync('/proc')) expect(processesOf(data)).toEqual([]);
});

test('with a directory of its own it can be looked at again', async () => {
  const first = await start('--once', '--dir', dir).ended;
  expect(first).toMatchObject({ code: 0, err: '' });
  const second = await start('--once', '--dir', dir).ended;
  expect(second).toMatchObject({ code: 0, err: '' });
  expect(entriesIn(second.out)).toEqual(entriesIn(first.out));
});

describe.runIf(existsSync('/proc'))('its machines end with it', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('by %s', async (signal) => {
    const { child, said, ended } = start('--dir', dir);
    await until('the demo runs', () => /Three people talk/.test(said.out));
    expect(processesOf(dir).length).toBeGreaterThanOrEqual(3);
    child.kill(signal);
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: signal === 'SIGKILL' ? null : 0, err: '' });
    await until('its machines have ended', () => processesOf(dir).length === 0);
  });
});

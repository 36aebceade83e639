// Shows the window while it is worked on: `npm run dev`, with the options of `synod serve`. Without --dir the data is thrown away.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build, createServer } from 'vite';
import { getElectron, startWindow } from '../out/src-main/cli/electron.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const configFile = join(root, 'src-renderer/vite.config.ts');
const given = process.argv.slice(2);
const isKept = given.some((each) => each === '--dir' || each.startsWith('--dir='));
const thrownAway = isKept ? null : mkdtempSync(join(tmpdir(), 'synod-dev-'));
const options = thrownAway === null ? given : ['--dir', thrownAway, ...given];

/** In a browser: Vite replaces what was changed in the page, and passes what the page asks on to a peer. */
async function inBrowser(stopped) {
  const peer = spawn(
    process.execPath,
    [join(root, 'out/cli/synod.js'), 'serve', '--json', '--web', '0', '--log-level', 'error', ...options],
    // The channel is how the peer is stopped, also where there are no signals, and what ends it where this program was killed.
    { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] },
  );
  const ended = once(peer, 'exit').then(([code]) => code ?? 1);
  const ready = once(createInterface({ input: peer.stdout }), 'line').then(([line]) => new URL(JSON.parse(line).web));
  const web = await Promise.race([ready, ended, stopped]);
  if (typeof web === 'number') return web;
  let server;
  if (web !== undefined) {
    server = await createServer({ configFile, cacheDir: join(root, '.tmp/vite'), server: serverFor(web.origin) });
    await server.listen();
    const page = new URL(server.resolvedUrls.local[0]);
    page.hash = web.hash;
    console.log(
      `The window, for browsers on this machine: ${page}\nWhat is changed under src-renderer/ shows at once. Ctrl+C stops it.`,
    );
    const code = await Promise.race([ended, stopped]);
    await server.close();
    if (code !== undefined) return code;
  }
  if (peer.connected) peer.disconnect();
  return ended;
}

/** Other names that lead here belong to somebody's page. */
const OWN_HOST = /^(127\.0\.0\.1|localhost):\d+$/;

/** The peer serves its own page alone: ours speaks through the proxy as if it were that one. Any other page stays what it is, and is refused. */
function serverFor(peerOrigin) {
  const passOn = (request, { headers: { host = '', origin } }) => {
    if (OWN_HOST.test(host) && origin === `http://${host}`) request.setHeader('origin', peerOrigin);
  };
  return {
    host: '127.0.0.1',
    proxy: {
      '/peer': {
        target: peerOrigin,
        ws: true,
        changeOrigin: true,
        configure: (proxy) => proxy.on('proxyReqWs', passOn),
      },
    },
  };
}

/**
 * In Electron: built anew at each change and loaded again, since the window takes its page from its own scheme alone, under the strict policy. Null where
 * Electron can't open a window.
 */
async function inElectron(program, stopped) {
  const watcher = await build({ configFile, logLevel: 'warn', build: { watch: {} } });
  await new Promise((resolve, reject) => {
    watcher.on('event', ({ code, error }) => {
      if (code === 'END') resolve();
      else if (code === 'ERROR') reject(error);
    });
  });
  const { child: window, exited, opened } = startWindow(program, ['--follow-builds', ...options]);
  console.log(
    'What is changed under src-renderer/ is built, and the window loads it. For the rest of it, start again.',
  );
  let isAsked = false;
  void stopped.then(() => {
    isAsked = true;
    window.kill('SIGTERM');
  });
  const isOpen = await opened;
  const code = await exited;
  await watcher.close();
  return isOpen || isAsked ? (code ?? 1) : null;
}

const stopped = new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve());
  // As a program does that started this one on a system without signals.
  if (process.channel) process.once('disconnect', () => resolve());
});
process.channel?.unref();
const electron = await getElectron(process.env, process.platform, console.error);
try {
  const code = 'program' in electron ? await inElectron(electron.program, stopped) : null;
  process.exitCode = code ?? (await inBrowser(stopped));
} finally {
  if (thrownAway !== null) rmSync(thrownAway, { recursive: true, force: true, maxRetries: 5 });
}
process.exit();

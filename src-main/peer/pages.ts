import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PeerError } from '../../shared/ipc/errors.ts';

export interface Page {
  readonly type: string;
  readonly body: Uint8Array<ArrayBuffer>;
}

/**
 * The built window by the path it is asked for, `/` included. All of it is read at the start, so whatever is asked for later
 * reaches no file.
 */
export type Pages = ReadonlyMap<string, Page>;

/** What a built window consists of; anything else in its folder is not served. */
const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Where the window is built to, in the package that a module belongs to. */
export function rendererDirectory(moduleUrl: string): string {
  let folder = dirname(fileURLToPath(moduleUrl));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return join(folder, 'out', 'renderer');
}

/** @throws PeerError FILE_UNREADABLE */
export async function readPages(rendererDir: string): Promise<Pages> {
  const pages = new Map<string, Page>();
  try {
    for (const entry of await readdir(rendererDir, { recursive: true, withFileTypes: true })) {
      const type = TYPES[extname(entry.name)];
      if (type === undefined || !entry.isFile()) continue;
      const file = join(entry.parentPath, entry.name);
      const path = `/${relative(rendererDir, file).split(sep).join('/')}`;
      pages.set(path, { type, body: new Uint8Array(await readFile(file)) });
    }
  } catch (error) {
    throw unreadable(rendererDir, error);
  }
  const index = pages.get('/index.html');
  if (index === undefined) throw unreadable(rendererDir);
  pages.set('/', index);
  return pages;
}

function unreadable(dir: string, cause?: unknown): PeerError {
  const message = `The window is not built: there is no ${join(dir, 'index.html')}. In a checkout, run: npm run build`;
  return new PeerError('FILE_UNREADABLE', message, { cause });
}

/** Sent with every page: what it may load and do. `connect` are the addresses that it may speak to. */
export function pageHeaders(page: Page, connect: readonly string[]): Record<string, string> {
  const isDocument = page.type.startsWith('text/html');
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    `connect-src ${connect.length === 0 ? "'none'" : connect.join(' ')}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // Text becomes markup only by way of DOMPurify, or of Svelte's own templates.
    "require-trusted-types-for 'script'",
    'trusted-types dompurify svelte-trusted-html',
  ];
  return {
    'content-type': page.type,
    'content-security-policy': policy.join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    // The other files have their content's hash in their names.
    'cache-control': isDocument ? 'no-store' : 'no-cache',
  };
}

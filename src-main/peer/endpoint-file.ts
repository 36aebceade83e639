import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { writePrivateFile } from '../group/private-file.ts';

/** Where a running peer can be asked, and the secret that shows one may read its directory. */
export interface EndpointAddress {
  readonly url: string;
  readonly token: string;
}

/** Only a loopback address is believed: the token is sent to nowhere else, whatever the file says. */
const schema = v.object({
  url: v.pipe(v.string(), v.regex(/^ws:\/\/127\.0\.0\.1:[0-9]{1,5}\/$/)),
  token: v.pipe(v.string(), v.regex(/^[\w-]{43}$/)),
});

const fileIn = (dir: string): string => join(dir, 'endpoint.json');

/** Readable by this user alone, and never half written. */
export async function writeEndpointFile(dir: string, { url, token }: EndpointAddress): Promise<void> {
  await writePrivateFile(fileIn(dir), Buffer.from(`${JSON.stringify({ url, token })}\n`));
}

/** Null where there is none, or none that can be believed. */
export async function readEndpointFile(dir: string): Promise<EndpointAddress | null> {
  let text: string;
  try {
    text = await readFile(fileIn(dir), 'utf8');
  } catch {
    return null;
  }
  try {
    const parsed = v.safeParse(schema, JSON.parse(text));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}

/** Only if it is still this peer's own. */
export async function removeEndpointFile(dir: string, token: string): Promise<void> {
  const found = await readEndpointFile(dir);
  if (found?.token === token) await rm(fileIn(dir), { force: true });
}

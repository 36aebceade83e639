import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { dataDirectory, type Surroundings } from '../peer/data-directory.ts';

export interface ShellOptions {
  readonly dir: string;
  readonly name?: string;
  readonly listen: readonly string[];
  readonly mdns: boolean;
  /** The window is loaded again whenever it was built anew: for who works on it. */
  readonly followsBuilds: boolean;
}

/** The options of `synod serve`, as far as a window has them. Chromium's own switches stand among them. */
export function shellOptions(args: readonly string[], surroundings: Surroundings): ShellOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      dir: { type: 'string' },
      name: { type: 'string' },
      listen: { type: 'string', multiple: true },
      'no-mdns': { type: 'boolean' },
      'follow-builds': { type: 'boolean' },
    },
    strict: false,
    allowPositionals: true,
  });
  const dir = typeof values.dir === 'string' && values.dir !== '' ? values.dir : undefined;
  return {
    dir: resolve(dataDirectory(dir, surroundings)),
    ...(typeof values.name === 'string' && values.name !== '' ? { name: values.name } : {}),
    listen: (values.listen ?? []).filter((address) => typeof address === 'string'),
    mdns: values['no-mdns'] !== true,
    followsBuilds: values['follow-builds'] === true,
  };
}

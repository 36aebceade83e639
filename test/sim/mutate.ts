/** Preloaded (`node --import`) with SYNOD_MUTANT set: plants that bug into the modules as they are loaded. */
import { registerHooks } from 'node:module';
import { planted } from './mutant.ts';
import { MUTANTS } from './mutants.ts';

const mutant = MUTANTS.find((m) => m.name === process.env.SYNOD_MUTANT);
if (!mutant) throw new Error(`no such mutant: ${process.env.SYNOD_MUTANT}`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!mutant.patches.some((patch) => url.endsWith(`/${patch.file}`))) return loaded;
    const source = String(loaded.source instanceof Uint8Array ? Buffer.from(loaded.source) : loaded.source);
    return { ...loaded, source: planted(mutant, url, source) };
  },
});

/** Preloaded (`node --import`) with SYNOD_MUTANT set: plants that bug into the modules as they are loaded. */
import { registerHooks } from 'node:module';
import { KEEPING_MUTANTS } from './keeping-mutants.ts';
import { MUTANTS } from './mutants.ts';

const mutant = [...MUTANTS, ...KEEPING_MUTANTS].find((m) => m.name === process.env.SYNOD_MUTANT);
if (!mutant) throw new Error(`no such mutant: ${process.env.SYNOD_MUTANT}`);

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    const patches = mutant.patches.filter((patch) => url.endsWith(`/${patch.file}`));
    if (patches.length === 0) return loaded;
    let source = String(loaded.source instanceof Uint8Array ? Buffer.from(loaded.source) : loaded.source);
    for (const { find, replace, file } of patches) {
      if (source.split(find).length !== 2) throw new Error(`${mutant.name} no longer fits ${file}: ${find}`);
      source = source.replace(find, () => replace);
    }
    return { ...loaded, source };
  },
});

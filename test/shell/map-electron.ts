import { registerHooks } from 'node:module';

const STUB = 'electron-stub:';
let imports = 0;

/** From here on, whoever imports `electron` in this process gets what `current` gives at that moment. */
export function mapElectron(current: () => Record<string, unknown>): void {
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== 'electron') return next(specifier, context);
      // Another address each time: a module is loaded once for an address.
      imports += 1;
      return { url: `${STUB}${imports}`, shortCircuit: true };
    },
    load(url, context, next) {
      if (!url.startsWith(STUB)) return next(url, context);
      const electron = current();
      (globalThis as { electronStub?: unknown }).electronStub = electron;
      const names = Object.keys(electron).join(', ');
      return { format: 'module', shortCircuit: true, source: `export const { ${names} } = globalThis.electronStub;` };
    },
  });
}

import { resolve } from 'node:path';
import { defineConfig } from 'electron-vite';
import renderer from './src-renderer/vite.config.ts';

// How the window's three parts are bundled.
export default defineConfig({
  main: {
    build: {
      // Packages stay outside: the store's native addon can't be bundled.
      externalizeDeps: true,
      outDir: 'out/electron/main',
      rolldownOptions: { input: 'src-main/shell/main.ts', output: { format: 'es', entryFileNames: '[name].js' } },
    },
  },
  preload: {
    build: {
      // A sandboxed preload is one CommonJS file that can load no packages.
      externalizeDeps: false,
      outDir: 'out/electron/preload',
      rolldownOptions: {
        input: 'src-main/preload/preload.ts',
        output: { format: 'cjs', entryFileNames: '[name].cjs' },
      },
    },
  },
  renderer: {
    ...renderer,
    // As a folder of the project: the renderer's own configuration names itself by its place, which is lost where it is bundled with this one.
    root: 'src-renderer',
    build: {
      ...renderer.build,
      outDir: 'out/renderer',
      rolldownOptions: { input: resolve('src-renderer/index.html') },
    },
  },
});

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'electron-vite';

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
    plugins: [svelte()],
    // electron-vite leaves the renderer unminified unless told.
    build: { minify: true },
  },
});

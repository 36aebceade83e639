import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'electron-vite';

// How the window's three parts are bundled. Each gets its entry here together with its first source file.
export default defineConfig({
  main: {
    build: {
      // Packages stay outside: the store's native addon can't be bundled.
      externalizeDeps: true,
      rolldownOptions: { output: { format: 'es' } },
    },
  },
  preload: {
    build: {
      // A sandboxed preload is one CommonJS file that can load no packages.
      externalizeDeps: false,
      rolldownOptions: { output: { format: 'cjs', entryFileNames: '[name].cjs' } },
    },
  },
  renderer: {
    plugins: [svelte()],
    // electron-vite leaves the renderer unminified unless told.
    build: { minify: true },
  },
});

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

/** The window's page: one document that loads nothing from anywhere else, so that `script-src 'self'` is enough for it. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  plugins: [svelte({ configFile: false })],
  build: {
    outDir: '../out/renderer',
    emptyOutDir: true,
    minify: true,
    target: 'es2022',
    // An inlined file would be a data: address, which the policy of the page does not let in.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});

import { fileURLToPath } from 'node:url';

import { defineConfig } from 'vitest/config';

import { contract } from './build/contract.ts';

export default defineConfig({
  base: './',
  plugins: [contract(fileURLToPath(new URL('../openapi.yaml', import.meta.url)))],
  resolve: {
    // The sources of the generated client: building the page needs no build of the client before.
    alias: { '@hsi/client': fileURLToPath(new URL('client/src/index.ts', import.meta.url)) },
  },
  build: {
    outDir: 'dist/app',
    target: 'es2022',
    assetsInlineLimit: 0, // the page's policy allows no data: addresses
    modulePreload: { polyfill: false },
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  test: {
    include: ['src/**/*.test.{ts,tsx}', 'build/**/*.test.ts'],
  },
});

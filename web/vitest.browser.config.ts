import { defineConfig } from 'vitest/config';

// Tests of the page in a real browser against the real program. One file after the other: each
// starts a server and a browser.
export default defineConfig({
  test: {
    include: [process.env['HSI_BENCH'] ? 'browser/**/*.bench.ts' : 'browser/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 120_000, interval: 100 } },
    reporters: ['verbose'],
  },
});

import { defineConfig } from 'vitest/config';

// Tests of the page in a real browser against the real program. One file after the other: each starts a server and a browser.
export default defineConfig({
  test: {
    include: ['browser/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 90_000,
    expect: { poll: { timeout: 30_000, interval: 100 } },
    reporters: ['verbose'],
  },
});

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { calm } from './calm.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

test('what is asked for often is done now and then, and also after the last time', async () => {
  const act = vi.fn<() => void>();
  const { ask, stop } = calm(5_000, act);
  ask();
  ask();
  await vi.advanceTimersByTimeAsync(0);
  expect(act).toHaveBeenCalledTimes(1);
  for (let turn = 0; turn < 10; turn += 1) {
    ask();
    await vi.advanceTimersByTimeAsync(500);
  }
  expect(act).toHaveBeenCalledTimes(2);
  ask();
  stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(act).toHaveBeenCalledTimes(2);
});

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Reloader } from './reloader.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const tick = (ms: number) => vi.advanceTimersByTimeAsync(ms);

function setUp() {
  const load = vi.fn<(signal: AbortSignal) => Promise<void>>(() => Promise.resolve());
  return { load, reloader: new Reloader(load) };
}

test('loads when there is something, and anew when there is something newer', async () => {
  const { load, reloader } = setUp();
  reloader.watch(true);
  await tick(60_000);
  expect(load).not.toHaveBeenCalled();
  reloader.want('first');
  reloader.want('first');
  await tick(60_000);
  expect(load).toHaveBeenCalledTimes(1);
  reloader.want('second');
  expect(load).toHaveBeenCalledTimes(2);
});

test('loads at most each 5 s, and then the newest', async () => {
  const { load, reloader } = setUp();
  reloader.watch(true);
  reloader.want('0');
  for (let second = 1; second <= 20; second += 1) {
    await tick(1_000);
    reloader.want(String(second));
  }
  expect(load).toHaveBeenCalledTimes(5);
});

test('asks one question at a time, however slow the answer', async () => {
  const { load, reloader } = setUp();
  let answer: () => void = () => undefined;
  load.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
  reloader.watch(true);
  reloader.want('first');
  await tick(60_000);
  reloader.want('second');
  await tick(60_000);
  expect(load).toHaveBeenCalledTimes(1);
  answer();
  await tick(0);
  expect(load).toHaveBeenCalledTimes(2);
});

test('asks nothing while nobody looks, and at once when somebody does again', async () => {
  const { load, reloader } = setUp();
  reloader.want('first');
  await tick(60_000);
  expect(load).not.toHaveBeenCalled();
  load.mockImplementationOnce(
    (signal) =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('given up')));
      }),
  );
  reloader.watch(true);
  reloader.watch(false);
  await tick(60_000);
  expect(load).toHaveBeenCalledTimes(1);
  expect(load.mock.calls[0]?.[0].aborted).toBe(true);
  reloader.watch(true);
  expect(load).toHaveBeenCalledTimes(2);
});

test('tries again after a failure, later', async () => {
  const { load, reloader } = setUp();
  load.mockRejectedValueOnce(new Error('not now'));
  reloader.watch(true);
  reloader.want('first');
  await tick(14_000);
  expect(load).toHaveBeenCalledTimes(1);
  await tick(1_000);
  expect(load).toHaveBeenCalledTimes(2);
  await tick(60_000);
  expect(load).toHaveBeenCalledTimes(2);
});

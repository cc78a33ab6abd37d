import { createClient } from '@hsi/client';
import { signal } from '@preact/signals';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { Access } from '../access/access.ts';
import { anEvent } from '../event/testing.ts';
import type { Change, Feed } from '../feed/feed.ts';
import type { Router } from '../router/router.ts';
import { Timeline } from './timeline.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse('2026-11-30T22:00:00Z') });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A timeline that has read an empty list, and what it asks for after that. */
async function setUp() {
  const asked: string[] = [];
  const lastDays: (string | null)[] = [];
  const aheadMs = signal(0);
  /** What the server answers to questions for sums; a list is always empty. */
  const answers = { sums: () => json({ buckets: [] }) };
  const client = createClient({
    baseUrl: 'http://server.test/',
    fetch: (input) => {
      const { pathname, searchParams } = new URL(
        input instanceof Request ? input.url : String(input),
      );
      asked.push(pathname);
      lastDays.push(searchParams.get('end_date'));
      return Promise.resolve(
        pathname.endsWith('/summary')
          ? answers.sums()
          : json({ events: [], count: 0, position: '1' }),
      );
    },
  });
  const tell: { change: (change: Change) => void } = { change: () => {} };
  const timeline = new Timeline({
    client,
    access: { entries: signal(0), refuse: () => {} } as unknown as Access,
    feed: {
      state: signal({ state: 'open' }),
      follow: () => {},
      onChange: (listener: (change: Change) => void) => {
        tell.change = listener;
        return () => {};
      },
    } as unknown as Feed,
    router: {
      route: signal({ page: 'home' }),
      query: signal(''),
      replaceQuery: () => {},
    } as unknown as Router,
    timeZone: 'UTC',
    nowMs: () => Date.now() + aheadMs.value,
  });
  const end = timeline.run();
  await vi.waitFor(() => expect(timeline.shown.value).toBeDefined());
  asked.length = 0;
  let id = 100;
  const happen = () =>
    tell.change({
      kind: 'event',
      lastEventId: null,
      data: anEvent({ id: (id += 1), started_at: new Date().toISOString() }),
    } as unknown as Change);
  return { aheadMs, answers, asked, end, happen, lastDays, tell, timeline };
}

function json(body: unknown, status = 200): Response {
  return Response.json(body, { status });
}

test('figures are asked for while events keep coming, and not with each of them', async () => {
  const { asked, end, happen, timeline } = await setUp();
  for (let count = 0; count < 50; count++) {
    happen();
    await vi.advanceTimersByTimeAsync(200);
  }
  expect(timeline.later.value).toHaveLength(50);
  // Ten seconds.
  expect(asked.length).toBeGreaterThanOrEqual(4);
  expect(asked.length).toBeLessThanOrEqual(6);
  expect(new Set(asked)).toEqual(new Set(['/api/events/summary']));
  end();
});

test('an event that comes meanwhile does not keep the list from being read anew', async () => {
  const { asked, end, happen, tell } = await setUp();
  tell.change({ kind: 'resync', lastEventId: null, data: {} } as unknown as Change);
  happen();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(asked).toContain('/api/events');
  end();
});

test('what could not be asked is said until it could', async () => {
  const { answers, end, happen, timeline } = await setUp();
  answers.sums = () => json({ detail: 'The database does not answer.' }, 503);
  happen();
  await vi.advanceTimersByTimeAsync(3_000);
  expect(timeline.problem.value?.text).toBe('The database does not answer.');
  answers.sums = () => json({ buckets: [] });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(timeline.problem.value).toBeUndefined();
  end();
});

test('midnight passes, and a wrong clock is put right: the present day is asked for', async () => {
  const { aheadMs, end, happen, lastDays, timeline } = await setUp();
  expect(lastDays.at(-1)).toBe('2026-11-30');
  await vi.advanceTimersByTimeAsync(2 * 3_600_000 + 11_000);
  expect(timeline.today()).toBe('2026-12-01');
  expect(lastDays.at(-1)).toBe('2026-12-01');
  aheadMs.value = 24 * 3_600_000;
  await vi.advanceTimersByTimeAsync(0);
  expect(lastDays.at(-1)).toBe('2026-12-02');
  happen();
  await vi.advanceTimersByTimeAsync(3_000);
  const { shown } = timeline;
  const before = shown.value;
  await vi.advanceTimersByTimeAsync(24 * 3_600_000);
  expect(shown.value).toBe(before); // what waits is not put in by itself
  expect(lastDays.at(-1)).toBe('2026-12-03');
  end();
});

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
  /** What the server answers to questions for sums; a list is always empty. */
  const answers = { sums: () => json({ buckets: [] }) };
  const client = createClient({
    baseUrl: 'http://server.test/',
    fetch: (input) => {
      const { pathname } = new URL(input instanceof Request ? input.url : String(input));
      asked.push(pathname);
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
    nowMs: () => Date.now(),
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
  return { answers, asked, end, happen, tell, timeline };
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

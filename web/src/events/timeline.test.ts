import { type Event as SeenEvent, createClient } from '@hsi/client';
import { signal } from '@preact/signals';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { Access } from '../access/access.ts';
import type { Change, Feed } from '../feed/feed.ts';
import { type Router, routeOf } from '../router/router.ts';
import { Timeline } from './timeline.ts';

const nowMs = Date.UTC(2026, 10, 30, 12);

beforeEach(() => {
  vi.useFakeTimers({ now: nowMs });
});
afterEach(() => {
  vi.useRealTimers();
});

const event = (id: number, more: Partial<SeenEvent> = {}) =>
  ({
    id,
    camera_id: 'porch',
    started_at: new Date(nowMs - 1_000_000 + id * 1_000).toISOString(),
    risk_level: 'low',
    reviewed: false,
    object_types: ['person'],
    ...more,
  }) as SeenEvent;

/** A server with a list of events, and a page that shows it. */
function setUp(ids: number[], query = '', position = 0) {
  const server = { events: ids.map((id) => event(id)), position, asked: [] as string[] };
  let hold: Promise<void> = Promise.resolve();
  const answers: Record<string, () => unknown> = {
    '/api/events': () => ({
      events: server.events.toSorted((a, b) => b.id - a.id).slice(0, 48),
      count: server.events.length,
      count_is_minimum: false,
      next_cursor: null,
      position: `a-${server.position}`,
    }),
    '/api/events/summary': () => ({
      buckets: [
        {
          starts_at: '2026-11-30T00:00:00Z',
          camera_id: 'porch',
          risk_level: 'low',
          events: server.events.length,
          unreviewed: server.events.length,
        },
      ],
      bucket: 'day',
      time_zone: 'UTC',
    }),
  };
  const fetch = async (input: string | URL | Request) => {
    const { pathname } = new URL(input as string);
    server.asked.push(pathname);
    const body = JSON.stringify(answers[pathname]?.());
    await hold;
    return new Response(body, { headers: { 'Content-Type': 'application/json' } });
  };
  const client = createClient({ baseUrl: 'http://server', fetch });
  const never = () => Promise.reject(new Error('not in this test'));
  let tell: (change: Change) => void = () => undefined;
  const feed = {
    state: signal({ state: 'open' }),
    follow: () => undefined,
    onChange: (listener: typeof tell) => {
      tell = listener;
      return () => undefined;
    },
  } as unknown as Feed;
  const router = { route: signal(routeOf('')), query: signal(query) } as unknown as Router;
  const timeline = new Timeline({
    client,
    access: new Access({ create: never, end: never }, undefined),
    feed,
    router,
    timeZone: 'UTC',
    nowMs: () => Date.now(),
  });
  const end = timeline.run();
  /** Something happens at the server, and is told. */
  const happen = (change: Pick<Change, 'kind' | 'data'>, apply: () => void = () => undefined) => {
    apply();
    server.position += 1;
    tell({ ...change, lastEventId: `a-${server.position}` } as Change);
  };
  const insert = (id: number, more: Partial<SeenEvent> = {}) =>
    happen({ kind: 'event', data: event(id, more) }, () => server.events.push(event(id, more)));
  /** Answers are read at the server and do not arrive until the function that it returns is called. */
  const holdAnswers = () => {
    let release: () => void = () => undefined;
    hold = new Promise((done) => (release = done));
    return release;
  };
  return {
    server,
    timeline,
    tell: (change: Change) => tell(change),
    happen,
    insert,
    holdAnswers,
    end,
  };
}

const settle = () => vi.advanceTimersByTimeAsync(3_000);
const later = (timeline: Timeline) => timeline.later.value.map(({ id }) => id);

test('what comes waits until it is asked for', async () => {
  const { insert, timeline, end } = setUp([1, 2, 3]);
  await settle();
  expect(timeline.shown.value?.days).toEqual([{ day: '2026-11-30', count: 3 }]);
  expect(timeline.shown.value?.rows.at('2026-11-30', 0)?.id).toBe(3);
  insert(4);
  insert(5);
  await settle();
  expect(later(timeline)).toEqual([5, 4]);
  expect(timeline.shown.value?.days[0]?.count).toBe(3);
  expect(
    timeline.sums({ cameraIds: [], levels: [], objects: [], unreviewedOnly: false })?.[0]?.count,
  ).toBe(5);
  await timeline.refresh();
  expect(later(timeline)).toEqual([]);
  expect(timeline.shown.value?.days[0]?.count).toBe(5);
  end();
});

test('what comes while the list is read is neither lost nor told twice', async () => {
  const { holdAnswers, insert, timeline, end } = setUp([1, 2]);
  await settle();
  const release = holdAnswers();
  const shown = timeline.refresh();
  await vi.advanceTimersByTimeAsync(0);
  insert(3); // after the answer was read at the server, before it is here
  release();
  await shown;
  expect(later(timeline)).toEqual([3]);
  await timeline.refresh();
  expect(later(timeline)).toEqual([]);
  end();
});

test('what the list has already is not told as new, though another list is older', async () => {
  const many = Array.from({ length: 60 }, (_, at) => at + 1);
  const { server, timeline, tell, end } = setUp(many, '', 7);
  await settle();
  expect(server.position).toBe(7);
  tell({ kind: 'event', data: event(5), lastEventId: 'a-6' }); // none of the rows that are there
  expect(later(timeline)).toEqual([]);
  tell({ kind: 'event', data: event(61), lastEventId: 'a-8' });
  expect(later(timeline)).toEqual([61]);
  end();
});

test('what a filter leaves out is not told as new', async () => {
  const { insert, timeline, end } = setUp([1], '?risk_level=critical');
  await settle();
  insert(2);
  insert(3, { risk_level: 'critical' });
  insert(4, { risk_level: 'critical', started_at: '2020-01-01T00:00:00Z' });
  expect(later(timeline)).toEqual([3]);
  end();
});

test('an event that changes, changes in its place; one that goes leaves its place empty', async () => {
  const { happen, timeline, end } = setUp([1, 2, 3]);
  await settle();
  happen({ kind: 'event_changed', data: event(2, { reviewed: true }) });
  expect(timeline.shown.value?.rows.at('2026-11-30', 1)?.reviewed).toBe(true);
  happen({ kind: 'events_removed', data: { ids: [2] } });
  expect(timeline.shown.value?.rows.at('2026-11-30', 1)).toBeUndefined();
  expect(timeline.shown.value?.rows.at('2026-11-30', 2)?.id).toBe(1);
  end();
});

test('many changes are answered with few questions, and never with none', async () => {
  const { happen, server, timeline, end } = setUp([1, 2]);
  await settle();
  server.asked = [];
  for (let at = 0; at < 50; at++) {
    happen({ kind: 'event_changed', data: event(2) });
    await vi.advanceTimersByTimeAsync(100);
  }
  expect(server.asked.length).toBeGreaterThanOrEqual(2);
  expect(server.asked.length).toBeLessThan(5);
  expect(new Set(server.asked)).toEqual(new Set(['/api/events/summary']));
  happen({ kind: 'resync', data: { reason: 'many_changes' } }, () => server.events.pop());
  happen({ kind: 'event_changed', data: event(2) }); // takes nothing back
  await settle();
  expect(timeline.shown.value?.days[0]?.count).toBe(1);
  end();
});

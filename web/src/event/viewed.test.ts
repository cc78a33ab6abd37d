import { type Detection, type EventDetail, createClient } from '@hsi/client';
import { signal } from '@preact/signals';
import { afterEach, expect, test, vi } from 'vitest';

import { Access } from '../access/access.ts';
import type { Change } from '../feed/feed.ts';
import type { HubState } from '../feed/hub.ts';
import { anEvent } from './testing.ts';
import { ViewedEvent, neighbourOf } from './viewed.ts';

const settledMs = 1_000;
let end: (() => void) | undefined;

afterEach(() => {
  end?.();
  vi.useRealTimers();
});

/** A server with these events, all of one camera, and the page at one of them. */
function setUp(events: EventDetail[], { eventId = 7, more = [] as Detection[] } = {}) {
  vi.useFakeTimers();
  const server = { events, status: 200, asked: [] as string[], beforeLists: () => {} };
  const answer = (status: number, body: unknown) =>
    Promise.resolve(
      new Response(JSON.stringify(body), {
        status,
        headers: { 'Content-Type': 'application/json' },
      }),
    );
  const fetch = vi.fn<typeof globalThis.fetch>((input, init) => {
    const url = new URL(input as string | URL);
    server.asked.push(url.pathname + url.search);
    if (server.status !== 200) return answer(server.status, { detail: 'Not now.' });
    const { searchParams } = url;
    if (url.pathname === '/api/events') {
      server.beforeLists();
      const isDown = searchParams.get('order') === 'desc';
      const sorted = server.events.toSorted(
        (a, b) => a.started_at.localeCompare(b.started_at) || a.id - b.id,
      );
      const inside = sorted.filter(({ started_at: at }) =>
        isDown
          ? at <= (searchParams.get('end_date') ?? '')
          : at >= (searchParams.get('start_date') ?? ''),
      );
      const from = Number(searchParams.get('cursor') ?? 0);
      const to = from + Number(searchParams.get('limit'));
      const list = isDown ? inside.toReversed() : inside;
      return answer(200, {
        events: list.slice(from, to),
        next_cursor: to < list.length ? String(to) : null,
        position: 'e-1',
      });
    }
    if (url.pathname.endsWith('/detections')) {
      const from = Number(searchParams.get('offset'));
      return answer(200, { detections: more.slice(from) });
    }
    const found = server.events.find(({ id }) => url.pathname === `/api/events/${id}`);
    if (found === undefined) return answer(404, { detail: 'Event with id 7 not found' });
    if (init?.method === 'PATCH') Object.assign(found, JSON.parse(String(init.body)));
    return answer(200, found);
  });
  const listeners = new Set<(change: Change) => void>();
  const state = signal<HubState>({ state: 'connecting' });
  const access = new Access(
    { create: () => Promise.reject(new Error()), end: () => Promise.reject(new Error()) },
    undefined,
  );
  const follow = vi.fn<(position: string) => void>();
  const isLost = signal(false);
  const viewed = new ViewedEvent({
    eventId,
    client: createClient({ baseUrl: 'http://hsi.test/', fetch }),
    access,
    feed: {
      state,
      follow,
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    isLost,
  });
  end = viewed.run();
  const tell = (change: Change) => listeners.forEach((listener) => listener(change));
  const step = () => viewed.known.value.step;
  const shown = () => {
    const { value } = viewed.known;
    return value.step === 'there' ? value : undefined;
  };
  const settled = () => vi.advanceTimersByTimeAsync(settledMs);
  return { viewed, server, state, isLost, access, follow, tell, step, shown, settled };
}

const changed = (event: EventDetail): Change => ({
  kind: 'event_changed',
  data: event,
  lastEventId: 'e-2',
});

test('shows the event and follows from a position that covers what was read', async () => {
  const { follow, settled, shown, step } = setUp([anEvent()]);
  expect(step()).toBe('loading');
  await settled();
  expect(shown()).toMatchObject({ event: { id: 7 }, isWhole: true });
  expect(follow).toHaveBeenCalledWith('e-1');
});

test('a change between the answer and the position is not missed', async () => {
  const { server, settled, shown } = setUp([anEvent()]);
  server.beforeLists = () => (server.events = [anEvent({ reviewed: true })]);
  await settled();
  expect(shown()?.event.reviewed).toBe(true);
});

test('neighbours: same microsecond, other pages, none', async () => {
  const twins = [5, 6, 7, 8, 9].map((id) => anEvent({ id }));
  const later = anEvent({ id: 20, started_at: '2026-11-30T21:20:00Z' });
  const { settled, viewed } = setUp([...twins, later]);
  await settled();
  expect(viewed.neighbours.value).toMatchObject({ before: { id: 6 }, after: { id: 8 } });
  const [first] = twins;
  expect(first && neighbourOf(first, twins, 'desc')).toBeUndefined();
  expect(neighbourOf(later, [later, ...twins], 'desc')?.id).toBe(5);
});

test('no such event is something else than one that was deleted while it was shown', async () => {
  const missing = setUp([], { eventId: 8 });
  await missing.settled();
  expect(missing.step()).toBe('missing');
  end?.();
  const { server, settled, step, tell } = setUp([anEvent()]);
  await settled();
  server.events = [];
  tell({ kind: 'events_removed', data: { ids: [3, 7] }, lastEventId: 'e-3' });
  expect(step()).toBe('gone');
  await settled();
  expect(step()).toBe('gone');
});

test('a write to an event that is gone says so', async () => {
  const { server, settled, step, viewed } = setUp([anEvent()]);
  await settled();
  server.events = [];
  await expect(viewed.change({ reviewed: true })).resolves.toContain('not found');
  expect(step()).toBe('gone');
});

test('a write is shown once the server has answered, and not before', async () => {
  const { server, settled, shown, viewed } = setUp([anEvent()]);
  await settled();
  const sent = viewed.change({ reviewed: true });
  expect(shown()?.event.reviewed).toBe(false);
  await expect(sent).resolves.toBeUndefined();
  expect(shown()?.event.reviewed).toBe(true);
  server.status = 503;
  await expect(viewed.change({ reviewed: false })).resolves.toBe('Not now.');
  expect(shown()?.event.reviewed).toBe(true);
});

test('what changes elsewhere is shown; other detections are asked for', async () => {
  const { server, settled, shown, tell } = setUp([anEvent()]);
  await settled();
  tell(changed(anEvent({ notes: 'postman' })));
  expect(shown()?.event.notes).toBe('postman');
  const before = server.asked.length;
  await settled();
  expect(server.asked).toHaveLength(before);
  tell(changed(anEvent({ detection_ids: [1] })));
  await settled();
  expect(server.asked.length).toBeGreaterThan(before);
});

test('a new event of the camera becomes the one after', async () => {
  const { server, settled, tell, viewed } = setUp([anEvent()]);
  await settled();
  expect(viewed.neighbours.value?.after).toBeUndefined();
  const next = anEvent({ id: 8, started_at: '2026-11-30T21:16:00Z' });
  server.events = [anEvent(), next];
  tell({ kind: 'event', data: next, lastEventId: 'e-4' });
  await settled();
  expect(viewed.neighbours.value?.after?.id).toBe(8);
});

test('what the event does not carry is read page by page', async () => {
  const all = Array.from({ length: 1_200 }, (_, id) => ({ id }) as Detection);
  const event = anEvent({ detections: all.slice(0, 1_000), detections_goes_on: true });
  const { settled, shown } = setUp([event], { more: all });
  await settled();
  expect(shown()?.isWhole).toBe(true);
  expect(shown()?.detections.map(({ id }) => id)).toEqual(all.map(({ id }) => id));
});

test('a failure is said, what is shown stays, and it asks again when the feed is back', async () => {
  const { server, settled, shown, state, step, viewed } = setUp([anEvent()]);
  server.status = 503;
  await settled();
  expect(step()).toBe('failed');
  server.status = 200;
  await viewed.load();
  expect(step()).toBe('there');
  state.value = { state: 'open' };
  server.status = 503;
  await viewed.load();
  expect(viewed.problem.value?.text).toBe('Not now.');
  expect(shown()?.event.id).toBe(7);
  server.status = 200;
  state.value = { state: 'connecting' };
  state.value = { state: 'open' };
  await settled();
  expect(viewed.problem.value).toBeUndefined();
});

test('an event that could not be asked for is asked for when the server is back', async () => {
  const { isLost, server, settled, state, step } = setUp([anEvent()]);
  server.status = 500;
  isLost.value = true;
  await settled();
  expect(step()).toBe('failed');
  server.status = 200;
  state.value = { state: 'open' };
  isLost.value = false;
  await settled();
  expect(step()).toBe('there');
});

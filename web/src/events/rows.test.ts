import type { Event as SeenEvent } from '@hsi/client';
import { expect, test } from 'vitest';

import { Rows, comesBefore, pageSize } from './rows.ts';

const day = '2026-11-30';
/** An event that began so many seconds after midnight. */
const event = (id: number, second: number) =>
  ({ id, started_at: new Date(Date.UTC(2026, 10, 30) + second * 1000).toISOString() }) as SeenEvent;

test('the order of the lists, to the microsecond', () => {
  const one = { id: 1, started_at: '2026-11-30T10:00:00.000001Z' };
  const other = { id: 2, started_at: '2026-11-30T10:00:00Z' };
  expect(comesBefore(one, other)).toBe(true);
  expect(comesBefore(other, one)).toBe(false);
  expect(comesBefore({ ...one, id: 3 }, one)).toBe(true);
});

/** A list on a server, the newest first, and a page that reads it in a random order. */
function play(seed: number) {
  let state = seed;
  const random = (below: number) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * below);
  };
  const count = 50 + random(300);
  let server = Array.from({ length: count }, (_, at) => event(count - at, (count - at) * 60));
  const atFirst = [...server];
  const rows = new Rows();
  const gone = new Set<number>();
  let nextId = count + 1;
  for (let step = 0; step < 60; step++) {
    const what = random(6);
    if (what === 0) {
      const later = event(nextId++, random(count * 60) + 1); // begun at any time
      server = [...server, later].toSorted((a, b) => (comesBefore(a, b) ? -1 : 1));
      rows.addLater(day, later);
    } else if (what === 1) {
      const victim = server[random(server.length)];
      if (victim !== undefined && rows.remove(victim.id)) {
        server = server.filter(({ id }) => id !== victim.id);
        gone.add(victim.id);
      }
    } else {
      const first = random(count);
      for (const ask of rows.missing(day, first, Math.min(count, first + 12)))
        rows.take(ask, server.slice(ask.offset, ask.offset + ask.limit));
    }
  }
  for (const ask of rows.missing(day, 0, count))
    rows.take(ask, server.slice(ask.offset, ask.offset + ask.limit));
  return { rows, atFirst, gone };
}

test('whatever comes and goes meanwhile, each place keeps its event', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const { atFirst, gone, rows } = play(seed);
    for (const [index, { id }] of atFirst.entries())
      expect(rows.at(day, index)?.id, `seed ${seed}, place ${index}`).toBe(
        gone.has(id) ? undefined : id,
      );
  }
});

test('what was asked for is not asked for again, until it was dropped for others', () => {
  const rows = new Rows();
  const many = (page: number) =>
    Array.from({ length: pageSize }, (_, at) =>
      event(1e6 - page * pageSize - at, 9e4 - page * pageSize - at),
    );
  for (let page = 0; page < 200; page++)
    for (const ask of rows.missing(day, page * pageSize, (page + 1) * pageSize))
      rows.take(ask, many(page));
  expect(rows.missing(day, 199 * pageSize, 200 * pageSize)).toEqual([]);
  expect(rows.missing(day, 0, 1)).toHaveLength(1);
  expect(rows.at(day, 0)).toBeUndefined();
});

test('a row that has changed is another one in the same place', () => {
  const rows = new Rows();
  const [ask] = rows.missing(day, 0, 1);
  if (ask === undefined) throw new Error('nothing was asked for');
  rows.take(ask, [event(1, 60)]);
  expect(rows.change({ ...event(1, 60), reviewed: true })).toBe(true);
  expect(rows.at(day, 0)?.reviewed).toBe(true);
  expect(rows.change(event(2, 60))).toBe(false);
});

test('many rows that came later are not asked for with each page', () => {
  const rows = new Rows();
  rows.take({ day, page: 0, offset: 0, limit: pageSize }, [event(1, 100)]);
  for (let id = 2; id < 2_000; id++) rows.addLater(day, event(id, 100 + id));
  rows.addLater(day, event(5_000, 50)); // somewhere in the middle
  expect(rows.missing(day, 96, 100)).toEqual([
    { day, page: 2, offset: 96 + 1_998, limit: pageSize + 1 },
  ]);
});

test('from the other end the same rows are asked for, with what came and went', () => {
  const rows = new Rows();
  rows.take({ day, page: 0, offset: 0, limit: 2 }, [event(2, 200), event(1, 100)]);
  const ask = { day, page: 250, offset: 12_000, limit: pageSize };
  expect(rows.fromEnd(ask, 12_100)).toEqual({ offset: 52, limit: 48 });
  expect(rows.fromEnd(ask, 12_010)).toEqual({ offset: 0, limit: 10 }); // no more are there
  rows.addLater(day, event(3, 300));
  rows.addLater(day, event(4, 400));
  rows.remove(1);
  expect(rows.fromEnd(ask, 12_100)).toEqual({ offset: 53, limit: 48 });
});

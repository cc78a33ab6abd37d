import { expect, test } from 'vitest';

import { emptySum } from '../events/sums.ts';
import { binAt, binsOf, wordBin } from './bins.ts';

const start = (day: string) => new Date(`${day}T00:00:00`).getTime();

test('a bar for each day, with or without events, the oldest first', () => {
  const sum = { ...emptySum(start('2026-11-29')), count: 4 };
  const bins = binsOf([sum], '2026-11-30', 3, false);
  expect(bins.map(({ count }) => count)).toEqual([0, 4, 0]);
  expect(bins.map(({ startsAtMs }) => startsAtMs)).toEqual(
    ['2026-11-28', '2026-11-29', '2026-11-30'].map(start),
  );
});

test('a bar for each hour, also of a day that has one less', () => {
  const bins = binsOf([], '2026-03-29', 1, true);
  const hours = (start('2026-03-30') - start('2026-03-29')) / 3_600_000;
  expect(bins).toHaveLength(hours);
  expect(binAt(bins, start('2026-03-29') + 90 * 60_000)).toBe(1);
  expect(binAt(bins, start('2026-04-29'))).toBe(hours - 1);
});

test('a bar in words', () => {
  const sum = emptySum(0);
  expect(wordBin(sum)).toBe('no events');
  expect(wordBin({ ...sum, count: 1 })).toBe('1 event');
  const byLevel = { ...sum.byLevel, critical: 2, high: 3 };
  expect(wordBin({ ...sum, count: 1234, byLevel })).toBe('1,234 events, 2 critical, 3 high');
});

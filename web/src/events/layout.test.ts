import { expect, test } from 'vitest';

import { between, layOut, placeAt, sectionOf, topOf } from './layout.ts';

const metrics = { columns: 3, rowHeight: 100, headHeight: 40 };
const layout = layOut(
  [
    { day: '2026-11-30', count: 7 },
    { day: '2026-11-29', count: 0 },
    { day: '2026-11-28', count: 3 },
  ],
  metrics,
);

test('full height before anything is there', () => {
  expect(layout.height).toBe(40 + 300 + 40 + 100);
  expect(layout.count).toBe(10);
  expect(layout.sections.map(({ top, before }) => [top, before])).toEqual([
    [0, 0],
    [340, 7],
  ]);
});

test('what is in view, in whole rows', () => {
  const seen = (from: number, to: number) =>
    between(layout, from, to).map(({ section, first, end }) => [section.day.slice(-2), first, end]);
  expect(seen(0, 40)).toEqual([['30', 0, 0]]);
  expect(seen(0, 41)).toEqual([['30', 0, 3]]);
  expect(seen(250, 300)).toEqual([['30', 6, 7]]);
  expect(seen(200, 1000)).toEqual([
    ['30', 3, 7],
    ['28', 0, 3],
  ]);
  expect(seen(-500, -1)).toEqual([]);
});

test('from a place to its height and back', () => {
  for (const section of layout.sections)
    for (let index = 0; index < section.count; index += metrics.columns) {
      const top = topOf(layout, section, index);
      expect(placeAt(layout, top)).toEqual({ section, index });
    }
});

test('below the last row of a day is the next day, and a part of a pixel is nothing', () => {
  const [first, second] = layout.sections;
  expect(placeAt(layout, 339.7)).toEqual({ section: second, index: 0 });
  expect(placeAt(layout, 140.4)).toEqual({ section: first, index: 3 });
  expect(placeAt(layout, 470)).toEqual({ section: second, index: 2 });
  expect(placeAt(layout, 480)).toBeUndefined();
});

test('a day without events stands for the one before it', () => {
  expect(sectionOf(layout, '2026-11-29')?.day).toBe('2026-11-28');
  expect(sectionOf(layout, '2026-11-27')).toBeUndefined();
});

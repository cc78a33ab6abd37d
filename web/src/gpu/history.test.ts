import type { GPUSample } from '@hsi/client';
import { describe, expect, test } from 'vitest';

import { type History, askFrom, extentOf, join, lineOf, parts } from './history.ts';
import { niceTop } from './plot.ts';
import { hasNoGPU } from './quantities.ts';

const t0 = Date.parse('2026-01-01T12:00:00Z');

function sample(seconds: number, utilization: number | null = 50): GPUSample {
  return {
    recorded_at: new Date(t0 + seconds * 1000).toISOString(),
    gpu_name: 'GPU',
    utilization,
    memory_used: 1,
    memory_total: 2,
    temperature: 3,
    power_usage: 4,
    inference_fps: 5,
  };
}

function every(step: number, from: number, to: number): GPUSample[] {
  return Array.from({ length: (to - from) / step + 1 }, (_, index) => sample(from + index * step));
}

const secondsOf = (history: History) =>
  history.samples.map(({ recorded_at }) => (Date.parse(recorded_at) - t0) / 1000);

function history(samples: GPUSample[], from: number, to: number, truncated = false): History {
  return { fromMs: t0 + from * 1000, toMs: t0 + to * 1000, samples, truncated };
}

describe('a line', () => {
  test('has the values at their times', () => {
    expect(lineOf([sample(0, 1), sample(5, 2), sample(10, 3)], 'utilization')).toEqual([
      [t0 / 1000, t0 / 1000 + 5, t0 / 1000 + 10],
      [1, 2, 3],
    ]);
  });

  test('keeps a value that is not known as a gap, not as a zero', () => {
    expect(lineOf([sample(0, 1), sample(5, null), sample(10, 0)], 'utilization')[1]).toEqual([
      1,
      null,
      0,
    ]);
  });

  test('has a null where samples are missing', () => {
    const [times, values] = lineOf([...every(5, 0, 60), ...every(5, 300, 360)], 'utilization');
    expect(times.map((time) => time - t0 / 1000).slice(12, 15)).toEqual([60, 65, 300]);
    expect(values.filter((value) => value === null)).toHaveLength(1);
  });

  test('takes a late sample or two for no gap, and a slow rhythm for a rhythm', () => {
    expect(lineOf([...every(5, 0, 60), ...every(5, 71, 121)], 'utilization')[1]).not.toContain(
      null,
    );
    expect(lineOf(every(60, 0, 600), 'utilization')[1]).not.toContain(null);
    expect(lineOf([...every(60, 0, 600), ...every(60, 1200, 1800)], 'utilization')[1]).toContain(
      null,
    );
  });

  test('of nothing, and of one sample', () => {
    expect(lineOf([], 'utilization')).toEqual([[], []]);
    expect(lineOf([sample(0, 7)], 'utilization')).toEqual([[t0 / 1000], [7]]);
  });
});

describe('asking for what is new only', () => {
  const ms = (seconds: number) => t0 + seconds * 1000;

  test('asks for everything first, then from the newest sample on', () => {
    expect(askFrom(undefined, ms(0))).toBe(ms(0));
    expect(askFrom(history([], 0, 60), ms(0))).toBe(ms(0));
    expect(askFrom(history(every(5, 0, 60), 0, 60), ms(5))).toBe(ms(60));
  });

  test('asks for everything again when the stretch became longer, or all that is kept is older', () => {
    expect(askFrom(history(every(5, 0, 60), 0, 60), ms(-60))).toBe(ms(-60));
    expect(askFrom(history(every(5, 0, 60), 0, 60), ms(600))).toBe(ms(600));
  });

  test('joins without losing or doubling a sample, and drops what is older than the stretch', () => {
    const kept = history(every(5, 0, 60), 0, 60);
    const joined = join(kept, every(5, 60, 70), {
      fromMs: ms(10),
      toMs: ms(70),
      askedFromMs: ms(60),
      limit: 5000,
    });
    expect(secondsOf(joined)).toEqual([10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70]);
    expect(joined).toMatchObject({ fromMs: ms(10), toMs: ms(70), truncated: false });
  });

  test('a sample at the same time as the newest is not lost', () => {
    const kept = history([sample(0), sample(5, 1)], 0, 5);
    const joined = join(kept, [sample(5, 1), sample(5, 2)], {
      fromMs: ms(0),
      toMs: ms(6),
      askedFromMs: ms(5),
      limit: 5000,
    });
    expect(joined.samples.map(({ utilization }) => utilization)).toEqual([50, 1, 2]);
  });

  test('a full answer may hide samples: what came before is dropped, and the history says that it is cut', () => {
    const kept = history(every(5, 0, 60), 0, 60);
    const joined = join(kept, every(5, 100, 110), {
      fromMs: ms(0),
      toMs: ms(110),
      askedFromMs: ms(60),
      limit: 3,
    });
    expect(secondsOf(joined)).toEqual([100, 105, 110]);
    expect(joined.truncated).toBe(true);
    const later = join(joined, [sample(110), sample(115)], {
      fromMs: ms(5),
      toMs: ms(115),
      askedFromMs: ms(110),
      limit: 3,
    });
    expect(secondsOf(later)).toEqual([100, 105, 110, 115]);
    expect(later.truncated).toBe(true);
  });
});

test('the extent counts known values only', () => {
  expect(
    extentOf([sample(0, null), sample(5, 10), sample(10, 20), sample(15, null)], 'utilization'),
  ).toEqual({
    min: 10,
    max: 20,
    mean: 15,
    last: 20,
  });
  expect(extentOf([sample(0, null)], 'utilization')).toBeUndefined();
  expect(extentOf([], 'utilization')).toBeUndefined();
});

test('the parts of a stretch hold each sample once', () => {
  const whole = history(every(5, 0, 60), 0, 60);
  const cut = parts(whole, 12);
  expect(cut).toHaveLength(12);
  expect(cut.flatMap(({ samples }) => samples)).toEqual(whole.samples);
  expect(cut.map(({ samples }) => samples.length)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
});

test.each([
  [null, 1],
  [0, 1],
  [0.8, 1],
  [1, 1.5],
  [61, 80],
  [98, 100],
  [99.9, 150],
  [187, 200],
  [700, 800],
])('the top of a chart whose highest value is %s', (max, top) =>
  expect(niceTop(max)).toBeCloseTo(top, 9),
);

test('no GPU is when nothing is known, not when something is zero', () => {
  const none = {
    gpu_name: null,
    utilization: null,
    memory_used: null,
    memory_total: null,
    temperature: null,
    power_usage: null,
    inference_fps: null,
  };
  expect(hasNoGPU(none)).toBe(true);
  expect(hasNoGPU({ ...none, utilization: 0 })).toBe(false);
});

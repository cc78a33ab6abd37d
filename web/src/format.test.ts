import { describe, expect, test } from 'vitest';

import {
  formatAge,
  formatBytes,
  formatCount,
  formatDuration,
  formatLatency,
  formatMeasure,
  formatMebibytes,
  plural,
  unknown,
} from './format.ts';

describe('what is not known is a dash and never a zero', () => {
  const formats = {
    formatCount,
    formatMeasure,
    formatBytes,
    formatMebibytes,
    formatLatency,
    formatDuration,
  };
  test.each(Object.entries(formats))('%s', (_, format) => {
    expect(format(null)).toBe(unknown);
    expect(format(undefined)).toBe(unknown);
    expect(format(0)).toContain('0');
  });
});

test.each([
  [0, '0'],
  [7, '7'],
  [1234, '1,234'],
  [1234567, '1,234,567'],
])('a count: %d', (value, text) => expect(formatCount(value)).toBe(text));

test.each([
  [0.5, '0.5 %'],
  [4.567, '4.57 %'],
  [9.994, '9.99 %'],
  [9.996, '10 %'],
  [72.34, '72.3 %'],
  [99.96, '100 %'],
  [144.6, '145 %'],
  [-4.25, '-4.25 %'],
])('a measure has three digits: %d', (value, text) => expect(formatMeasure(value, '%')).toBe(text));

test.each([
  [0, '0 bytes'],
  [1, '1 byte'],
  [999, '999 bytes'],
  [999.6, '1 kB'],
  [1500, '1.5 kB'],
  [75_000_000, '75 MB'],
  [999_600_000, '1 GB'],
  [107_374_182_400, '107 GB'],
  [536_870_912_000, '537 GB'],
  [2e18, '2,000 PB'],
])('bytes: %d', (value, text) => expect(formatBytes(value)).toBe(text));

test.each([
  [0, '0 MiB'],
  [1023, '1,023 MiB'],
  [1024, '1 GiB'],
  [12_000, '11.7 GiB'],
  [143_771, '140.4 GiB'],
])('graphics memory: %d', (value, text) => expect(formatMebibytes(value)).toBe(text));

test.each([
  [0, '< 0.1 ms'],
  [0.3, '0.3 ms'],
  [8, '8 ms'],
  [9.96, '10 ms'],
  [999.4, '999 ms'],
  [999.6, '1 s'],
  [1430, '1.4 s'],
  [59_949, '59.9 s'],
  [59_950, '1 min'],
  [125_000, '2 min 5 s'],
])('a latency: %d ms', (value, text) => expect(formatLatency(value)).toBe(text));

test.each([
  [-3, '0 s'],
  [0.4, '0 s'],
  [45, '45 s'],
  [59.6, '1 min'],
  [200, '3 min 20 s'],
  [3_600, '1 h'],
  [3_659, '1 h'],
  [86_400 + 7_200 + 5, '1 d 2 h'],
  [86_400 + 59, '1 d'],
  [400 * 86_400, '400 d'],
])('a duration: %d s', (value, text) => expect(formatDuration(value)).toBe(text));

test.each([
  [0, 'now'],
  [1_499, 'now'],
  [1_500, '1 s ago'],
  [59_999, '59 s ago'],
  [60_000, '1 min ago'],
  [3 * 3_600_000, '3 h ago'],
  [50 * 3_600_000, '2 d ago'],
])('an age: %d ms', (value, text) => expect(formatAge(value)).toBe(text));

test('one or many', () => {
  expect(plural(1, 'image')).toBe('1 image');
  expect(plural(0, 'image')).toBe('0 images');
  expect(plural(1200, 'log entry', 'log entries')).toBe('1,200 log entries');
});

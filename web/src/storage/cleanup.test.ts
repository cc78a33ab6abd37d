import type { CleanupResult } from '@hsi/client';
import { describe, expect, test } from 'vitest';

import { type Cleanup, type CleanupEvent, isEmpty, isOutdated, next } from './cleanup.ts';

const preview: CleanupResult = {
  events_deleted: 2,
  detections_deleted: 5,
  gpu_stats_deleted: 0,
  logs_deleted: 0,
  thumbnails_deleted: 5,
  images_deleted: 0,
  space_reclaimed: 1000,
  retention_days: 30,
  dry_run: true,
  timestamp: '2026-01-01T00:00:00Z',
};
const nothing = {
  ...preview,
  events_deleted: 0,
  detections_deleted: 0,
  thumbnails_deleted: 0,
  space_reclaimed: 0,
};
const result = { ...preview, dry_run: false };

function walk(...events: CleanupEvent[]): Cleanup {
  return events.reduce(next, { step: 'idle' } as Cleanup);
}

const previewed: CleanupEvent[] = [{ type: 'preview' }, { type: 'previewed', preview, atMs: 1 }];

test('preview, confirmation, run, result', () => {
  expect(walk(...previewed).step).toBe('previewed');
  expect(walk(...previewed, { type: 'ask' }).step).toBe('confirming');
  expect(walk(...previewed, { type: 'ask' }, { type: 'confirm' }).step).toBe('running');
  expect(
    walk(...previewed, { type: 'ask' }, { type: 'confirm' }, { type: 'done', result }),
  ).toEqual({ step: 'done', result });
});

test('no run without preview and confirmation, whatever comes in whatever order', () => {
  const events: CleanupEvent[] = [
    { type: 'preview' },
    { type: 'previewed', preview, atMs: 1 },
    { type: 'previewed', preview: result, atMs: 1 },
    { type: 'ask' },
    { type: 'cancel' },
    { type: 'done', result },
    { type: 'failed', message: 'x' },
  ];
  for (const a of events)
    for (const b of events)
      for (const c of events)
        for (const d of events) {
          const before = walk(a, b, c, d);
          const after = next(before, { type: 'confirm' });
          expect(after.step === 'running').toBe(before.step === 'confirming');
        }
});

describe('an event out of turn changes nothing', () => {
  test.each<[string, CleanupEvent[], CleanupEvent]>([
    ['a second preview while one is counted', [{ type: 'preview' }], { type: 'preview' }],
    [
      'a preview during a run',
      [...previewed, { type: 'ask' }, { type: 'confirm' }],
      { type: 'preview' },
    ],
    [
      'a second confirmation',
      [...previewed, { type: 'ask' }, { type: 'confirm' }],
      { type: 'confirm' },
    ],
    [
      'an empty preview is nothing to confirm',
      [{ type: 'preview' }, { type: 'previewed', preview: nothing, atMs: 1 }],
      { type: 'ask' },
    ],
    [
      'an answer that is no dry run is no preview',
      [{ type: 'preview' }],
      { type: 'previewed', preview: result, atMs: 1 },
    ],
    ['a result without a run', previewed, { type: 'done', result }],
  ])('%s', (_, events, event) => {
    const before = walk(...events);
    expect(next(before, event)).toBe(before);
  });
});

test('a confirmation can be taken back, a failure tells why', () => {
  expect(walk(...previewed, { type: 'ask' }, { type: 'cancel' }).step).toBe('previewed');
  expect(walk({ type: 'preview' }, { type: 'failed', message: 'Database unavailable' })).toEqual({
    step: 'failed',
    message: 'Database unavailable',
  });
});

test('a preview holds for five minutes and for its own retention period', () => {
  expect(isOutdated(preview, 0, 300_000, 30)).toBe(false);
  expect(isOutdated(preview, 0, 300_001, 30)).toBe(true);
  expect(isOutdated(preview, 0, 1, 14)).toBe(true);
  expect(isOutdated(preview, 0, 1, undefined)).toBe(false);
});

test('empty is when nothing is counted', () => {
  expect(isEmpty(nothing)).toBe(true);
  expect(isEmpty({ ...nothing, logs_deleted: 1 })).toBe(false);
});

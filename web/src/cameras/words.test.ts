import { expect, test } from 'vitest';

import { folderFor, wordFate, wordFates, wordMoment, wordPictureTime, wordTotal } from './words.ts';

const at = (text: string) => new Date(text).getTime(); // without a zone: where the reader is

test('a moment is as short as it can be', () => {
  const now = at('2026-03-04T23:00:00');
  expect(wordMoment(at('2026-03-04T22:14:09'), now)).toBe('22:14');
  expect(wordMoment(at('2026-03-03T22:14:09'), now)).toBe('3 Mar, 22:14');
  expect(wordMoment(at('2025-12-31T22:14:09'), now)).toBe('31 Dec 2025, 22:14');
});

test('the age of the newest picture', () => {
  const nowMs = at('2026-03-04T23:00:00');
  const word = (seenMs: number) => wordPictureTime({ seenMs, nowMs, asOfMs: undefined });
  expect(word(nowMs - 190_000)).toBe('3 min ago');
  expect(word(nowMs + 900)).toBe('just now');
});

test('what may not hold any more says as of when it did, and no age', () => {
  const nowMs = at('2026-03-04T23:00:00');
  const asOfMs = at('2026-03-04T22:14:00');
  expect(wordPictureTime({ seenMs: at('2026-03-04T22:11:00'), nowMs, asOfMs })).toBe(
    '22:11, as of 22:14',
  );
});

test('an unknown reason or state is shown as it is', () => {
  expect(wordFate({ state: 'filtered', reason: 'moonlight' }).name).toBe('Left out: moonlight');
  expect(wordFate({ state: 'filtered', reason: null }).name).toBe('Left out: no reason is known');
  expect(wordFate({ state: 'dreaming', reason: null })).toMatchObject({
    group: 'other',
    name: 'dreaming',
  });
  expect(wordFate({ state: 'filtered', reason: 'constructor' }).name).toBe('Left out: constructor');
});

test('the cause of a picture that was given up is told', () => {
  const fate = wordFate({ state: 'dead_lettered', reason: 'the detector answered 500' });
  expect(fate.meaning).toBe('the detector answered 500');
});

test('lines that read the same are one, in the order of the way of a picture', () => {
  const fates = wordFates([
    { state: 'filtered', reason: 'no_detections', count: 402 },
    { state: 'analyzed', reason: null, count: 17 },
    { state: 'seen', reason: null, count: 1 },
    { state: 'queued', reason: null, count: 2 },
    { state: 'filtered', reason: 'truncated', count: 1 },
  ]);
  expect(fates.map(({ count, name }) => [name, count])).toEqual([
    ['Part of an event', 17],
    ['Waiting', 3],
    ['Nothing seen in it', 402],
    ['Upload broken off', 1],
  ]);
  expect(wordTotal(fates)).toBe(
    '423 pictures came: 17 are in events, 3 are under way, 403 were left out.',
  );
});

test('a single picture, and none', () => {
  expect(wordTotal(wordFates([{ state: 'analyzed', reason: null, count: 1 }]))).toBe(
    '1 picture came: 1 is in events.',
  );
  expect(wordTotal([])).toBe('Nothing came.');
});

test('a folder is named after its camera', () => {
  expect(folderFor('Front door')).toBe('front-door');
  expect(folderFor(' Küche / 2. Stock ')).toBe('küche-2-stock');
  expect(folderFor('../..')).toBe('');
});

import { expect, test } from 'vitest';

import { anEvent } from './testing.ts';
import { Clock, headingOf, stagesOf, wholeWayMs, wordAnalyzer, wordDistance } from './words.ts';

const clock = new Clock('Europe/Berlin');
const event = anEvent();

test('the heading says what, where and when, as it is where the reader is', () => {
  expect(headingOf(event, clock)).toBe('Person at Front door, 22:14');
  expect(headingOf({ ...event, camera_name: null, object_types: [] }, clock)).toBe(
    'Motion at front_door, 22:14',
  );
});

test('a moment in full names its time zone', () => {
  const whole = clock.whole(Date.parse(event.started_at));
  expect(whole).toContain('Monday');
  expect(whole).toContain('22:14:05');
  expect(whole).toContain('Central European Standard Time');
});

test('stages are differences; what is not recorded is said and passed over', () => {
  expect(stagesOf(event).map(({ distance }) => distance)).toEqual([
    undefined,
    '500 ms later',
    undefined,
    '30 s later',
    'at once',
    '2.5 s later',
  ]);
  expect(wholeWayMs(event)).toBe(33_000);
});

test('a clock of a camera that is ahead makes no negative times', () => {
  const ahead = anEvent({ started_at: '2026-11-30T21:14:07Z' });
  expect(stagesOf(ahead)[1]?.distance).toBe('1.5 s before that');
  expect(wholeWayMs(anEvent({ started_at: '2026-11-30T22:00:00Z' }))).toBeUndefined();
});

test('distances to other events', () => {
  expect(wordDistance(60_000, 0)).toBe('1 min earlier');
  expect(wordDistance(0, 3_600_000)).toBe('1 h later');
  expect(wordDistance(0, 400)).toBe('at the same time');
});

test('what assessed it', () => {
  expect(wordAnalyzer('nemotron')).toContain('language model');
  expect(wordAnalyzer('rules')).toContain('built-in rules');
  expect(wordAnalyzer(null)).toContain('not recorded');
});

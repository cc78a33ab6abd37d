import { expect, test } from 'vitest';

import { stepsToList } from './back.ts';

const root = 'http://nas/hsi/';
const visited = (...paths: string[]) => ({
  entries: () =>
    paths.map((path, index) => ({ index, url: path === '' ? root : new URL(path, root).href })),
  currentEntry: { index: paths.length - 1 },
});

test('the list that was left on the way here is gone back to', () => {
  expect(stepsToList(visited('', 'events/1'), root)).toBe(1);
  expect(stepsToList(visited('?days=7', 'events/1', 'events/2'), root)).toBe(2);
});

test('from elsewhere there is nothing to go back to', () => {
  expect(stepsToList(visited('events/1'), root)).toBeUndefined();
  expect(stepsToList(visited('', 'cameras', 'events/1'), root)).toBeUndefined();
  expect(stepsToList(visited('http://other/', 'events/1'), root)).toBeUndefined();
  expect(stepsToList(undefined, root)).toBeUndefined();
});

import { expect, test } from 'vitest';

import { afterSaving, isChangedElsewhere, typing, unsaved } from './note.ts';

test('what is typed back to what is saved is nothing typed', () => {
  const draft = typing(undefined, 'postman', 'postman!');
  expect(draft).toEqual({ text: 'postman!', base: 'postman' });
  expect(typing(draft, 'postman', 'postman')).toBeUndefined();
});

test('a change elsewhere is told, and what is typed stays', () => {
  const draft = typing(undefined, '', 'the pos');
  expect(isChangedElsewhere(draft, '')).toBe(false);
  expect(isChangedElsewhere(draft, 'neighbour')).toBe(true);
  const more = typing(draft, 'neighbour', 'the postman');
  expect(more?.text).toBe('the postman');
  expect(isChangedElsewhere(more, 'neighbour')).toBe(true);
});

test('the same note from elsewhere, or our own by the live stream, is no conflict', () => {
  const draft = typing(undefined, '', 'postman');
  expect(isChangedElsewhere(draft, 'postman')).toBe(false);
  expect(unsaved(draft, 'postman')).toBeUndefined();
});

test('what is typed while it is saved stays, on top of what was saved', () => {
  const draft = typing(undefined, '', 'postman');
  expect(afterSaving(draft, 'postman')).toBeUndefined();
  const more = typing(draft, '', 'postman, twice');
  expect(afterSaving(more, 'postman')).toEqual({ text: 'postman, twice', base: 'postman' });
});

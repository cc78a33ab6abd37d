import { expect, test } from 'vitest';

import { readWish, writeWish } from './filter.ts';
import { hasKind, wordObjects } from './words.ts';

test('an address says what it says, and is written the same again', () => {
  const query =
    '?camera_id=front,gate&risk_level=critical,low&object_type=person&reviewed=false&days=7&last=2026-11-20&at=2026-11-19T10:00:00Z';
  const wish = readWish(query);
  expect(wish).toEqual({
    filter: {
      cameraIds: ['front', 'gate'],
      levels: ['critical', 'low'],
      objects: ['person'],
      unreviewedOnly: true,
    },
    span: { days: 7, lastDay: '2026-11-20' },
    at: '2026-11-19T10:00:00Z',
  });
  expect(writeWish(wish)).toBe(query);
  expect(writeWish(readWish(''))).toBe('');
});

test('what an address should not say is left out', () => {
  for (const odd of [
    '?days=8',
    '?days=x',
    '?last=yesterday',
    '?last=2026-13-01',
    '?at=soon',
    '?risk_level=huge',
    '?object_type=<b>',
    '?reviewed=true',
  ])
    expect(readWish(odd), odd).toEqual(readWish(''));
});

test('what was seen, in words', () => {
  expect(wordObjects([])).toBe('Motion');
  expect(wordObjects(['motion'])).toBe('Motion');
  expect(wordObjects(['motion', 'person'])).toBe('Person');
  expect(wordObjects(['person', 'dog'])).toBe('Person and dog');
  expect(wordObjects(['person', 'dog', 'car'])).toBe('Person, dog and car');
  expect(wordObjects(['person', 'dog', 'car', 'cat'])).toBe('Person, dog and 2 more');
});

test('groups of kinds', () => {
  expect(hasKind({ object_types: ['Car'] }, 'vehicle')).toBe(true);
  expect(hasKind({ object_types: ['cat'] }, 'animal')).toBe(true);
  expect(hasKind({ object_types: ['cat'] }, 'person')).toBe(false);
});

import { expect, test } from 'vitest';

import { Gate } from './gate.ts';

test('so many run at a time, and one that fails makes room too', async () => {
  const gate = new Gate(2);
  const ends: ((fails: boolean) => void)[] = [];
  const runs = Array.from({ length: 5 }, () =>
    gate
      .run(
        () =>
          new Promise<void>((resolve, reject) =>
            ends.push((fails) => (fails ? reject(new Error('not now')) : resolve())),
          ),
      )
      .catch(() => undefined),
  );
  const settle = () => new Promise((done) => setTimeout(done, 0));
  await settle();
  expect(ends).toHaveLength(2);
  ends[0]?.(true);
  await settle();
  expect(ends).toHaveLength(3);
  ends[1]?.(false);
  ends[2]?.(false);
  await settle();
  expect(ends).toHaveLength(5);
  ends[3]?.(false);
  ends[4]?.(false);
  await Promise.all(runs);
});

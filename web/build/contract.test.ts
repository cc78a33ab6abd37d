import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { excerpt } from './contract.ts';

const file = readFileSync(new URL('../../openapi.yaml', import.meta.url), 'utf8');

test('takes bounds from the contract', () => {
  const found = excerpt(file);
  expect(found.historyLimit).toMatchObject({ minimum: 1, maximum: 5000 });
  expect(found.windowMinutes).toMatchObject({ minimum: 1, maximum: 1440 });
  expect(found.configFields['detection_confidence_threshold']).toMatchObject({
    integer: false,
    minimum: 0,
    maximum: 1,
  });
});

test('a contract without what the page needs fails the build', () => {
  expect(() => excerpt('paths: {}\ncomponents: {schemas: {}}')).toThrow('SystemConfigUpdate');
  expect(() => excerpt(file.replace('name: window_minutes', 'name: window'))).toThrow(
    'window_minutes',
  );
  expect(() => excerpt(file.replaceAll('maximum: 365,', ''))).toThrow('retention_days');
});

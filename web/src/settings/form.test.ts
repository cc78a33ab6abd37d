import type { SystemConfig } from '@hsi/client';
import { describe, expect, test } from 'vitest';
import { configFields } from 'virtual:contract';

import { type Field, boundsInWords, changesOf, parseField, sortErrors } from './form.ts';

const config: SystemConfig = {
  app_name: 'x',
  version: '1',
  retention_days: 30,
  batch_window_seconds: 90,
  batch_idle_timeout_seconds: 30,
  detection_confidence_threshold: 0.5,
};
const fields = Object.keys(configFields) as Field[];

test('the bounds are those of the contract', () => {
  expect(fields).toEqual([
    'retention_days',
    'batch_window_seconds',
    'batch_idle_timeout_seconds',
    'detection_confidence_threshold',
  ]);
  expect(configFields.retention_days).toEqual({
    integer: true,
    description: 'How long data is kept.',
    minimum: 1,
    maximum: 365,
  });
  expect(boundsInWords(configFields.retention_days)).toBe('1 to 365');
  expect(boundsInWords(configFields.batch_window_seconds)).toBe('1 or more');
});

describe('reading a field', () => {
  test.each<[Field, string, number]>([
    ['retention_days', '1', 1],
    ['retention_days', ' 365 ', 365],
    ['retention_days', '14.0', 14],
    ['detection_confidence_threshold', '0', 0],
    ['detection_confidence_threshold', '0,65', 0.65],
    ['detection_confidence_threshold', '.5', 0.5],
    ['detection_confidence_threshold', '1.', 1],
  ])('%s: %j', (field, text, value) =>
    expect(parseField(text, configFields[field])).toEqual({ value }),
  );

  test.each<[Field, string, RegExp]>([
    ['retention_days', '', /Enter a number/],
    ['retention_days', 'a week', /not a number/],
    ['retention_days', '1e2', /not a number/],
    ['retention_days', '0x10', /not a number/],
    ['retention_days', 'Infinity', /not a number/],
    ['retention_days', '14.5', /whole number/],
    ['retention_days', '0', /1 to 365/],
    ['retention_days', '366', /1 to 365/],
    ['batch_window_seconds', '2147483648', /1 or more/],
    ['detection_confidence_threshold', '1.01', /0 to 1/],
    ['detection_confidence_threshold', '-0.1', /0 to 1/],
  ])('%s refuses %j', (field, text, message) => {
    expect(parseField(text, configFields[field])).toEqual({
      error: expect.stringMatching(message),
    });
  });
});

describe('what is sent', () => {
  test('touched fields with another value, and no other', () => {
    const draft = {
      retention_days: '14',
      batch_window_seconds: '90',
      detection_confidence_threshold: '0.50',
    };
    expect(changesOf(draft, config, configFields)).toEqual({
      body: { retention_days: 14 },
      errors: {},
    });
    expect(changesOf({}, config, configFields)).toEqual({ body: {}, errors: {} });
  });

  test('every wrong field is named at once', () => {
    const { errors } = changesOf(
      { retention_days: '0', batch_window_seconds: 'x' },
      config,
      configFields,
    );
    expect(Object.keys(errors)).toEqual(['retention_days', 'batch_window_seconds']);
  });
});

test('the server’s errors go to their fields', () => {
  const sorted = sortErrors(
    [
      { loc: ['body', 'retention_days'], msg: 'number must be at most 365', type: 'maximum' },
      { loc: ['body', 'retention_days'], msg: 'and even', type: 'x' },
      { loc: ['body', 'other'], msg: 'unknown', type: 'x' },
      { loc: ['query', 'retention_days'], msg: 'elsewhere', type: 'x' },
    ],
    fields,
  );
  expect(sorted.byField).toEqual({ retention_days: 'number must be at most 365; and even' });
  expect(sorted.others).toEqual(['body.other: unknown', 'query.retention_days: elsewhere']);
});

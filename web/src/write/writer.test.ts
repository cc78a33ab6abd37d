import { ConnectionError } from '@hsi/client';
import { expect, test, vi } from 'vitest';

import { failureOf } from './outcome.ts';
import { NoKeyError, Writer } from './writer.ts';

const refused = { status: 401 as const, data: { detail: 'API key required.' } };
const done = { status: 200 as const, data: 'done' };

/** A server that wants this key. */
function serverWanting(key: string, writer: Writer) {
  return vi.fn<() => Promise<typeof done | typeof refused>>(() =>
    Promise.resolve(writer.key.value === key ? done : refused),
  );
}

const asked = (writer: Writer) => vi.waitUntil(() => writer.request.value);

test('no key is asked for when the server wants none', async () => {
  const writer = new Writer();
  await expect(writer.send(() => Promise.resolve(done))).resolves.toBe(done);
  expect(writer.request.value).toBeUndefined();
});

test('asks on 401 with what the server said, until the key is right, and then no more', async () => {
  const writer = new Writer();
  const call = serverWanting('right', writer);
  const sent = writer.send(call);
  const first = await asked(writer);
  expect(first.reason).toBe('API key required.');
  first.answer('wrong');
  await vi.waitUntil(() => writer.request.value !== undefined && writer.request.value !== first);
  expect(writer.key.value).toBeUndefined();
  writer.request.value?.answer('right');
  await expect(sent).resolves.toBe(done);
  await expect(writer.send(call)).resolves.toBe(done);
  expect(call).toHaveBeenCalledTimes(4);
  writer.forget();
  expect(writer.key.value).toBeUndefined();
});

test('without a key nothing is sent again, and the page says that nothing was changed', async () => {
  const writer = new Writer();
  const call = serverWanting('right', writer);
  const sent = writer.send(call);
  (await asked(writer)).answer('');
  await expect(sent).rejects.toBeInstanceOf(NoKeyError);
  expect(call).toHaveBeenCalledTimes(1);
  expect(writer.request.value).toBeUndefined();
  expect(failureOf(new NoKeyError())).toContain('Nothing was changed');
});

test('one question at a time: a second write gives up the first', async () => {
  const writer = new Writer();
  const first = writer.send(serverWanting('right', writer));
  await asked(writer);
  const second = writer.send(serverWanting('right', writer));
  await expect(first).rejects.toBeInstanceOf(NoKeyError);
  (await asked(writer)).answer('right');
  await expect(second).resolves.toBe(done);
});

test('a broken connection leaves open whether it was done, and the page says so', () => {
  expect(failureOf(new ConnectionError())).toContain('may have been carried out');
});

import { ConnectionError } from '@hsi/client';
import { expect, test, vi } from 'vitest';

import { Access, NoKeyError } from './access.ts';
import { failureOf } from './outcome.ts';

const refused = { status: 401 as const, data: { detail: 'API key required.' } };
const done = { status: 200 as const, data: 'done' };

/** A server that wants this key, and the page at it. */
function setUp(key = 'right') {
  let hasSession = false;
  const memory = new Map<string, string>();
  const create = vi.fn<(key: string) => Promise<{ status: number; data: unknown }>>((given) => {
    hasSession = given === key;
    return Promise.resolve(
      hasSession ? done : { status: 401, data: { detail: 'Invalid API key' } },
    );
  });
  const end = vi.fn<() => Promise<typeof done>>(() => {
    hasSession = false;
    return Promise.resolve(done);
  });
  const access = new Access(
    { create, end },
    {
      getItem: (name) => memory.get(name) ?? null,
      setItem: (name, value) => memory.set(name, value),
      removeItem: (name) => memory.delete(name),
    },
  );
  const call = vi.fn<() => Promise<typeof done | typeof refused>>(() =>
    Promise.resolve(hasSession ? done : refused),
  );
  return { access, call, create, memory };
}

const asked = (access: Access) => vi.waitUntil(() => access.request.value);

test('no key is asked for when the server wants none', async () => {
  const { access, create } = setUp();
  await expect(access.send(() => Promise.resolve(done))).resolves.toBe(done);
  expect(access.request.value).toBeUndefined();
  expect(create).not.toHaveBeenCalled();
});

test('asks on 401 with what the server said, until the key is right, and then no more', async () => {
  const { access, call, memory } = setUp();
  const sent = access.send(call);
  const first = await asked(access);
  expect(first.reason).toBe('API key required.');
  first.answer('wrong');
  const second = await vi.waitUntil(() => {
    const { value } = access.request;
    return value === first ? undefined : value;
  });
  expect(second.reason).toBe('Invalid API key');
  expect(access.isSignedIn.value).toBe(false);
  second.answer('right');
  await expect(sent).resolves.toBe(done);
  await expect(access.send(call)).resolves.toBe(done);
  expect(call).toHaveBeenCalledTimes(3);
  expect(access.isSignedIn.value).toBe(true);
  expect(JSON.stringify([...memory])).not.toContain('right');
});

test('signed out, what was shown is shown no more, and a write asks again', async () => {
  const { access, call, memory } = setUp();
  await expect(access.signIn('wrong')).resolves.toBe('Invalid API key');
  await expect(access.signIn('right')).resolves.toBeUndefined();
  expect(access.entries.value).toBe(1);
  await access.signOut();
  expect(access.refusal.value).toBe('You are signed out.');
  expect(memory.size).toBe(0);
  const sent = access.send(call);
  (await asked(access)).answer('right');
  await expect(sent).resolves.toBe(done);
  expect(access.refusal.value).toBeUndefined();
});

test('all tabs are signed in and out together', async () => {
  const { access, memory } = setUp();
  access.refuse({ detail: 'API key required.' });
  memory.set('hsi-signed-in', 'yes'); // by another tab
  access.follow();
  expect(access.refusal.value).toBeUndefined();
  expect(access.entries.value).toBe(1);
  access.follow();
  expect(access.entries.value).toBe(1);
  memory.clear();
  access.follow();
  expect(access.isSignedIn.value).toBe(false);
  expect(access.refusal.value).toBe('You are signed out.');
});

test('a session that has ended is no session any more', async () => {
  const { access } = setUp();
  await access.signIn('right');
  access.refuse({ detail: 'API key required.' });
  expect(access.isSignedIn.value).toBe(false);
  expect(access.refusal.value).toBe('API key required.');
});

test('without a key nothing is sent again, and the page says that nothing was changed', async () => {
  const { access, call } = setUp();
  const sent = access.send(call);
  (await asked(access)).answer('');
  await expect(sent).rejects.toBeInstanceOf(NoKeyError);
  expect(call).toHaveBeenCalledTimes(1);
  expect(access.request.value).toBeUndefined();
  expect(failureOf(new NoKeyError())).toContain('Nothing was changed');
});

test('one question at a time: a second write gives up the first', async () => {
  const { access, call } = setUp();
  const first = access.send(call);
  await asked(access);
  const second = access.send(call);
  await expect(first).rejects.toBeInstanceOf(NoKeyError);
  (await asked(access)).answer('right');
  await expect(second).resolves.toBe(done);
});

test('a broken connection leaves open whether it was done, and the page says so', () => {
  expect(failureOf(new ConnectionError())).toContain('may have been carried out');
});

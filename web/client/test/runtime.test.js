// The hand-written part of the client against a scripted HTTP server.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  ConnectionError,
  createClient,
  getHealth,
  getLiveness,
  getStats,
  listDeadLetters,
  listGPUHistory,
  runCleanup,
  StatusError,
  TimeoutError,
  UnexpectedResponseError,
  unwrap,
  updateSystemConfig,
} from '../dist/index.js';
import { cut, json, scriptedServer } from './support/scripted.js';

const script = scriptedServer();

test('a documented failure is data with its status, request id and waiting time', async () => {
  script.answer = (_, response) =>
    json(
      response,
      503,
      { detail: 'Database unavailable' },
      { 'Retry-After': '5', 'X-Request-ID': 'abc' },
    );
  const result = await getStats(createClient({ baseUrl: script.baseUrl }));
  assert.deepEqual(result, {
    ok: false,
    status: 503,
    data: { detail: 'Database unavailable' },
    requestId: 'abc',
    retryAfterSeconds: 5,
  });
  assert.throws(
    () => unwrap(result),
    (error) => error instanceof StatusError && error.status === 503 && error.result === result,
  );
});

test('unwrap gives the data of a success', async () => {
  script.answer = (_, response) => json(response, 200, { status: 'alive' });
  const result = await getLiveness(createClient({ baseUrl: script.baseUrl }));
  assert.deepEqual(unwrap(result), { status: 'alive' });
  assert.equal(result.requestId, null);
  assert.equal(result.retryAfterSeconds, null);
});

test('what the contract does not have is not handed over as if it did', async () => {
  const client = createClient({ baseUrl: script.baseUrl });
  /** @type {[string, number, Record<string, string>, string][]} */
  const answers = [
    ['status', 502, { 'Content-Type': 'application/json' }, '{"detail":"bad gateway"}'],
    ['status', 404, { 'Content-Type': 'text/html' }, '<h1>Not Found</h1>'],
    ['not application/json', 200, { 'Content-Type': 'text/html' }, '<h1>Sign in</h1>'],
    ['not application/json', 200, {}, '{}'],
    ['not JSON', 200, { 'Content-Type': 'application/json' }, '{"status":"heal'],
    ['not JSON', 200, { 'Content-Type': 'application/json; charset=utf-8' }, ''],
  ];
  for (const [why, status, headers, body] of answers) {
    script.answer = (_, response) => response.writeHead(status, headers).end(body);
    await assert.rejects(getHealth(client), (error) => {
      assert.ok(error instanceof UnexpectedResponseError);
      assert.match(error.message, new RegExp(why));
      assert.equal(error.status, status);
      assert.equal(error.body, body);
      return true;
    });
  }
});

test('the key goes with the operations that take it, and nowhere else', async () => {
  let asked = 0;
  const client = createClient({
    baseUrl: script.baseUrl,
    apiKey: () => Promise.resolve(`key-${++asked}`),
  });
  await getStats(client);
  await runCleanup(client);
  await updateSystemConfig(client, { body: {} });
  await runCleanup(createClient({ baseUrl: script.baseUrl, apiKey: 'fixed' }));
  await runCleanup(createClient({ baseUrl: script.baseUrl, apiKey: () => undefined }));
  await runCleanup(createClient({ baseUrl: script.baseUrl, apiKey: '' }));
  assert.deepEqual(
    script.seen.map(({ headers }) => headers['x-api-key']),
    [undefined, 'key-1', 'key-2', 'fixed', undefined, undefined],
  );
});

test('a redirect is not followed, so that the key stays with its server', async () => {
  script.answer = (_, response) =>
    response.writeHead(307, { Location: `${script.baseUrl}/elsewhere` }).end();
  await assert.rejects(
    runCleanup(createClient({ baseUrl: script.baseUrl, apiKey: 'secret-key' })),
    ConnectionError,
  );
  assert.deepEqual(
    script.seen.map(({ url }) => url),
    ['/api/system/cleanup'],
  );
});

test('no answer comes from a cache that did not ask the server', async () => {
  /** @type {RequestInit | undefined} */ let sent;
  const client = createClient({
    baseUrl: script.baseUrl,
    fetch: (url, init) => {
      sent = init;
      return fetch(url, init);
    },
  });
  await getHealth(client);
  assert.equal(sent?.cache, 'no-cache');
});

test('parameters are written as the contract reads them', async () => {
  const client = createClient({ baseUrl: `${script.baseUrl}/prefix/` });
  await listGPUHistory(client, { query: { since: '2025-12-23T09:00:00+01:00', limit: 5 } });
  await listDeadLetters(client, { query: { cause: 'a & b = 50 %' } });
  await runCleanup(client, { query: { dry_run: true } });
  await runCleanup(client, { query: {} });
  await listGPUHistory(client, { query: JSON.parse('{"since":null}') });
  assert.deepEqual(
    script.seen.map(({ url }) => url),
    [
      '/prefix/api/system/gpu/history?since=2025-12-23T09%3A00%3A00%2B01%3A00&limit=5',
      '/prefix/api/system/dead-letters?cause=a+%26+b+%3D+50+%25',
      '/prefix/api/system/cleanup?dry_run=true',
      '/prefix/api/system/cleanup',
      '/prefix/api/system/gpu/history',
    ],
  );
});

test('a body is JSON, and an operation without one sends none', async () => {
  const client = createClient({ baseUrl: script.baseUrl });
  await updateSystemConfig(client, {
    body: { retention_days: 14, batch_window_seconds: null },
    requestId: 'mine',
  });
  await runCleanup(client);
  const [patch, post] = script.seen;
  assert.equal(patch?.body, '{"retention_days":14,"batch_window_seconds":null}');
  assert.equal(patch?.headers['content-type'], 'application/json');
  assert.equal(patch?.headers['x-request-id'], 'mine');
  assert.equal(post?.body, '');
  assert.equal(post?.headers['content-type'], undefined);
});

test('nobody there is a ConnectionError with its cause', async () => {
  await assert.rejects(
    getHealth(createClient({ baseUrl: 'http://127.0.0.1:1' })),
    (error) => error instanceof ConnectionError && Boolean(error.cause),
  );
});

test('an answer that breaks off is a ConnectionError', async () => {
  script.answer = (_, response) => {
    response
      .writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '100' })
      .write('{');
    cut(response);
  };
  await assert.rejects(getHealth(createClient({ baseUrl: script.baseUrl })), ConnectionError);
});

test('an answer that does not come, or does not end, is a TimeoutError', async () => {
  script.answer = () => {};
  await assert.rejects(
    getHealth(createClient({ baseUrl: script.baseUrl, timeoutMs: 20 })),
    (error) => error instanceof TimeoutError && error.timeoutMs === 20,
  );
  script.answer = (_, response) =>
    void response.writeHead(200, { 'Content-Type': 'application/json' }).write('{');
  await assert.rejects(
    getHealth(createClient({ baseUrl: script.baseUrl }), { timeoutMs: 20 }),
    TimeoutError,
  );
});

test('a call without a limit waits', async () => {
  script.answer = (_, response) => void setTimeout(() => json(response, 200, {}), 60);
  assert.equal(
    (await getHealth(createClient({ baseUrl: script.baseUrl, timeoutMs: 20 }), { timeoutMs: 0 }))
      .status,
    200,
  );
});

test('an aborted call rejects with the reason of its signal', async () => {
  const controller = new AbortController();
  const reason = new Error('the page was left');
  script.answer = () => controller.abort(reason);
  const client = createClient({ baseUrl: script.baseUrl });
  await assert.rejects(
    getHealth(client, { signal: controller.signal }),
    (error) => error === reason,
  );
  await assert.rejects(
    getHealth(client, { signal: controller.signal }),
    (error) => error === reason,
  );
  assert.equal(script.seen.length, 1, 'an aborted signal sends nothing');
});

test('clients do not share anything', async () => {
  const other = createClient({ baseUrl: `${script.baseUrl}/other`, apiKey: 'other-key' });
  const client = createClient({ baseUrl: script.baseUrl });
  await Promise.all([runCleanup(other), runCleanup(client)]);
  assert.deepEqual(
    new Map(script.seen.map(({ url, headers }) => [url, headers['x-api-key']])),
    new Map([
      ['/other/api/system/cleanup', 'other-key'],
      ['/api/system/cleanup', undefined],
    ]),
  );
  assert.doesNotMatch(JSON.stringify(other), /other-key/);
  assert.ok(Object.isFrozen(other));
});

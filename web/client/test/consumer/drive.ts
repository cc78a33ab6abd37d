// Calls every operation of live servers through the installed package and prints, as JSON, which status each was seen with.
//
//   HSI_URL      a server that works and wants HSI_API_KEY, whose detector refuses the picture refused.png of the camera front_door
//   HSI_DOWN_URL a server whose PostgreSQL and Redis are not there
import assert from 'node:assert/strict';

import {
  ConnectionError,
  createClient,
  getHealth,
  getReadiness,
  getReadinessProbe,
  getSystemConfig,
  listDeadLetters,
  requeueDeadLetters,
  StatusError,
  unwrap,
  updateSystemConfig,
  type Client,
  type DeadLetter,
} from '@hsi/client';

import { invalid, secured, valid } from './calls.js'; // written by the test

const patienceMs = 60_000;
const baseUrl = setting('HSI_URL');
const apiKey = setting('HSI_API_KEY');

function setting(name: string): string {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);
  return value;
}

const seen: Record<string, number[]> = {};

/** A client that notes what it is answered. */
function noting(client: Client): Client {
  return {
    async request(operation, options) {
      const result = await client.request<Record<number, unknown>, Record<number, unknown>>(operation, options);
      const statuses = (seen[`${operation.method} ${operation.path}`] ??= []);
      if (!statuses.includes(result.status)) statuses.push(result.status);
      assert.ok(result.requestId, 'every answer has a request id');
      return result as never;
    },
  };
}

async function eventually<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    assert.ok(Date.now() < deadline, `waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const client = noting(createClient({ baseUrl, apiKey }));

// A dead letter with all its values, and its way back.
const letter = await eventually<DeadLetter>('the refused picture becomes a dead letter', async () => {
  const page = unwrap(await listDeadLetters(client));
  return page.dead_letters[0];
});
assert.deepEqual(
  { ...letter, cause: typeof letter.cause, first_failed_at: typeof letter.first_failed_at, last_failed_at: typeof letter.last_failed_at },
  {
    id: letter.id,
    kind: 'image',
    batch_id: null,
    camera_id: 'front_door',
    file: 'refused.png',
    cause: 'string',
    attempts: letter.attempts,
    first_failed_at: 'string',
    last_failed_at: 'string',
  },
);
assert.equal(
  unwrap(await listDeadLetters(client, { query: { cause: letter.cause } })).total,
  1,
  'a sentence goes through the query unharmed',
);
assert.deepEqual(unwrap(await requeueDeadLetters(client, { body: { ids: [letter.id] } })), { requeued: 1 });

// 200 from every operation; the two readiness checks get there a moment after the start.
await eventually('the system is ready', async () => ((await getReadiness(client)).ok ? true : undefined));
await eventually('the system is healthy', async () => ((await getHealth(client)).ok ? true : undefined));
for (const [name, call] of Object.entries(valid)) {
  const result = await call(client);
  assert.equal(result.status, 200, name);
  assert.ok(result.ok, name);
}
assert.equal(unwrap(await getSystemConfig(client)).retention_days, 14, 'the change is there');

// 422 names the field.
for (const [name, call] of Object.entries(invalid)) {
  const result = await call(client);
  assert.equal(result.status, 422, name);
}
const refused = await updateSystemConfig(client, { body: { retention_days: 366 } });
assert.ok(refused.status === 422);
assert.deepEqual(refused.data.detail[0]?.loc, ['body', 'retention_days']);
// @ts-expect-error an unknown key in a body
const unknownKey = await updateSystemConfig(client, { body: { retention: 3 } });
assert.ok(unknownKey.status === 422);
assert.deepEqual(unknownKey.data.detail[0]?.loc, ['body', 'retention']);

// 401 without a key and with a wrong one; a function is asked for the key.
for (const name of secured) {
  for (const key of [undefined, 'wrong-key', () => Promise.resolve('wrong-key')]) {
    const result = await valid[name](noting(createClient({ baseUrl, apiKey: key })));
    assert.equal(result.status, 401, name);
  }
}
assert.ok((await valid.runCleanup(noting(createClient({ baseUrl, apiKey: () => Promise.resolve(apiKey) })))).ok);

// 413: more than the server reads.
const tooLarge = await requeueDeadLetters(client, { body: { cause: 'x'.repeat(70_000) } });
assert.ok(tooLarge.status === 413);
assert.equal(typeof tooLarge.data.detail, 'string');

// 503: the health checks hand their whole body over, the others say when to try again.
const down = noting(createClient({ baseUrl: setting('HSI_DOWN_URL') }));
for (const call of Object.values(valid)) await call(down);
const health = await getHealth(down);
assert.equal(health.status, 503);
assert.equal(health.ok, false);
assert.equal(health.data.status, 'unhealthy');
assert.equal(health.data.services.database.status, 'unhealthy');
assert.equal(health.data.services.redis.status, 'unhealthy');
const readiness = await getReadiness(down);
assert.equal(readiness.data.ready, false);
assert.ok(readiness.data.workers.length > 0);
assert.equal((await getReadinessProbe(down)).data.status, 'not_ready');
const unavailable = await getSystemConfig(down);
assert.ok(unavailable.status === 503);
assert.ok(unavailable.retryAfterSeconds !== null && unavailable.retryAfterSeconds > 0);
assert.throws(
  () => unwrap(unavailable),
  (error) => error instanceof StatusError && error.status === 503,
);

// Nobody there.
await assert.rejects(getHealth(createClient({ baseUrl: 'http://127.0.0.1:1' })), ConnectionError);

console.log(JSON.stringify(seen));

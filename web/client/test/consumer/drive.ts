// Calls every operation of live servers through the installed package and prints, as JSON, which
// status each was seen with.
//
//   HSI_URL      a server that works and wants HSI_API_KEY, whose detector refuses the picture refused.png of the camera front_door
//   HSI_DOWN_URL a server with the same key whose PostgreSQL and Redis are not there
//   HSI_CAMERAS  the camera root of the first
import assert from 'node:assert/strict';
import { copyFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';

import {
  ConnectionError,
  createCamera,
  createClient,
  createSession,
  deleteSession,
  eachDetection,
  eachEvent,
  exportEvents,
  getCamera,
  getCameraSnapshot,
  getDetectionImage,
  getDetectionOriginal,
  getEvent,
  getEventImage,
  getHealth,
  getReadiness,
  getReadinessProbe,
  getSystemConfig,
  listDeadLetters,
  listEventDetections,
  listEvents,
  requeueDeadLetters,
  reviewEvents,
  searchEvents,
  StatusError,
  streamEvents,
  unwrap,
  updateCamera,
  updateEvent,
  updateSystemConfig,
  type Client,
  type DeadLetter,
  type StreamEventsFrame,
} from '@hsi/client';

import { invalid, named, secured, valid, type Ids } from './calls.js'; // written by the test

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
    ...client,
    async prepare(operation, message) {
      const send = await client.prepare(operation, message);
      return async (signal) => {
        const response = await send(signal);
        const statuses = (seen[`${operation.method} ${operation.path}`] ??= []);
        if (!statuses.includes(response.status)) statuses.push(response.status);
        assert.ok(response.headers.get('X-Request-ID'), 'every answer has a request id');
        return response;
      };
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

await eventually('the system is ready', async () =>
  (await getReadiness(client)).ok ? true : undefined,
);

// What comes live from here on.
const frames: StreamEventsFrame[] = [];
const leave = new AbortController();
const following = (async () => {
  for await (const frame of streamEvents(client, { signal: leave.signal })) frames.push(frame);
})();
await eventually('the stream says at once how the system is', () =>
  Promise.resolve(frames.find(({ kind }) => kind === 'system_status')),
);

// A camera that is added, its first picture, and what was found in it.
const created = await createCamera(client, { body: { name: 'Attic', folder_path: 'The Attic' } });
assert.ok(created.status === 201, JSON.stringify(created));
const added = created.data;
assert.equal(added.name, 'Attic');
assert.equal(added.folder_path, 'The Attic');
await createCamera(client, { body: { name: 'Porch', folder_path: 'Porch' } });
const again = await createCamera(client, { body: { name: 'Porch', folder_path: 'Porch' } });
assert.ok(again.status === 409);
assert.match(again.data.detail, /porch/);

const cameras = setting('HSI_CAMERAS');
const original = path.join(cameras, 'Porch/one.png');
await copyFile(path.join(cameras, 'front_door/refused.png'), path.join(cameras, 'one.part')); // as a camera does: written beside
await rename(path.join(cameras, 'one.part'), original);
const ofPorch = { query: { camera_id: ['porch'] } };
const event = await eventually('the picture becomes an event', async () => {
  for await (const found of eachEvent(client, ofPorch)) return found;
  return undefined;
});
assert.deepEqual(
  [event.camera_id, event.camera_name, event.object_types.toSorted(), event.reviewed],
  ['porch', 'Porch', ['car', 'person'], false],
);
const types = [];
for await (const { event_id, file_path, object_type } of eachDetection(client, {
  query: { ...ofPorch.query, limit: 1, order: 'asc' },
})) {
  assert.deepEqual([event_id, file_path], [event.id, 'Porch/one.png']);
  types.push(object_type);
}
assert.deepEqual(types.toSorted(), ['car', 'person'], 'each once, from page to page');
const detail = unwrap(await getEvent(client, { path: { event_id: event.id } }));
const best = detail.detections.find(({ object_type }) => object_type === 'person');
assert.ok(best);
assert.deepEqual(
  [best.picture_width, best.picture_height, best.detector, detail.detections_goes_on],
  [64, 64, 'rtdetr', false],
);
const ids: Ids = { camera_id: 'porch', detection_id: best.id, event_id: event.id };
assert.equal(unwrap(await listEventDetections(client, { path: ids })).count, 2);
assert.ok(
  unwrap(await searchEvents(client, { query: { q: 'porch person' } })).results.some(
    ({ id }) => id === event.id,
  ),
);
assert.equal(unwrap(await getCamera(client, { path: ids })).pictures_24h.length, 1);

// Changes.
assert.equal(
  unwrap(await updateEvent(client, { path: ids, body: { notes: 'The postman' } })).notes,
  'The postman',
);
assert.deepEqual(unwrap(await reviewEvents(client, { body: { ids: [event.id] } })), {
  reviewed: 1,
});
assert.equal(unwrap(await getEvent(client, { path: ids })).reviewed, true);
assert.equal(
  unwrap(await listEvents(client, { query: { ...ofPorch.query, reviewed: false } })).count,
  0,
);
assert.equal(
  unwrap(await updateCamera(client, { path: ids, body: { time_zone: 'Europe/Berlin' } })).time_zone,
  'Europe/Berlin',
);

// Pictures: whole, unchanged, in part, and a part that is not there.
for (const ask of [getEventImage, getDetectionImage, getDetectionOriginal, getCameraSnapshot]) {
  const whole = await ask(client, { path: ids });
  assert.ok(whole.status === 200);
  assert.match(whole.data.type, /^image\/(jpeg|png)$/);
  const etag = whole.headers.get('ETag');
  assert.ok(etag);
  const unchanged = await ask(client, { path: ids, ifNoneMatch: etag });
  assert.ok(unchanged.status === 304);
  const part = await ask(client, { path: ids, range: 'bytes=1-9' });
  assert.ok(part.status === 206);
  assert.equal(await part.data.text(), await whole.data.slice(1, 10).text());
  const beyond = await ask(client, { path: ids, range: 'bytes=1000000-' });
  assert.ok(beyond.status === 416);
  assert.equal(typeof beyond.data.detail, 'string');
}

// The export, whole and piece by piece.
const table = unwrap(await exportEvents(client, ofPorch));
assert.match(table, new RegExp(`^event_id,.*\\n${event.id},Porch,`));
let piecewise = '';
const decoder = new TextDecoder();
const to = new WritableStream<Uint8Array>({
  write: (piece) => void (piecewise += decoder.decode(piece, { stream: true })),
});
assert.ok((await exportEvents(client, { ...ofPorch, to })).ok);
assert.equal(piecewise, table);

// The stream has told all of it, in order, and tells it again to one who comes back with an older
// position.
function kindsOf(told: StreamEventsFrame[]) {
  return told.flatMap((frame) => {
    if (frame.kind === 'camera')
      return frame.data.id === 'porch' ? [`camera ${frame.data.id}`] : [];
    return (frame.kind === 'event' || frame.kind === 'event_changed') && frame.data.id === event.id
      ? [`${frame.kind} ${frame.data.id}`]
      : [];
  });
}
await eventually('the stream has the review', () =>
  Promise.resolve(frames.find((frame) => frame.kind === 'event_changed' && frame.data.reviewed)),
);
const told = kindsOf(frames);
assert.equal(told[0], 'camera porch');
assert.equal(told.filter((kind) => kind === `event ${event.id}`).length, 1);
assert.ok(told.indexOf(`event ${event.id}`) < told.indexOf(`event_changed ${event.id}`));
const lastEventId = frames[0]?.lastEventId ?? assert.fail('the stream has not said where it is');
const retold: StreamEventsFrame[] = [];
for await (const frame of streamEvents(client, { lastEventId })) {
  retold.push(frame);
  if (kindsOf(retold).length === told.length) break;
}
assert.deepEqual(kindsOf(retold), told);
for await (const frame of streamEvents(client, { lastEventId: 'another-1' })) {
  if (frame.kind === 'system_status') continue;
  assert.ok(frame.kind === 'resync');
  assert.equal(frame.data.reason, 'foreign');
  break;
}
leave.abort();
await following;

// A dead letter with all its values, and its way back.
const letter = await eventually<DeadLetter>(
  'the refused picture becomes a dead letter',
  async () => {
    const page = unwrap(await listDeadLetters(client));
    return page.dead_letters[0];
  },
);
assert.deepEqual(
  {
    ...letter,
    cause: typeof letter.cause,
    first_failed_at: typeof letter.first_failed_at,
    last_failed_at: typeof letter.last_failed_at,
  },
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
assert.deepEqual(unwrap(await requeueDeadLetters(client, { body: { ids: [letter.id] } })), {
  requeued: 1,
});

// 2xx from every operation; health gets there a moment after the start.
await eventually('the system is healthy', async () =>
  (await getHealth(client)).ok ? true : undefined,
);
const { createCamera: _added, ...others } = valid; // one was added above
for (const [name, call] of Object.entries(others)) {
  const result = await call(client, ids);
  assert.ok(result.ok, `${name}: ${result.status}`);
}
assert.equal(unwrap(await getSystemConfig(client)).retention_days, 14, 'the change is there');

// 422 names the field.
for (const [name, call] of Object.entries(invalid)) {
  const result = await call(client, ids);
  assert.equal(result.status, 422, name);
}
const refused = await updateSystemConfig(client, { body: { retention_days: 366 } });
assert.ok(refused.status === 422);
assert.deepEqual(refused.data.detail[0]?.loc, ['body', 'retention_days']);
// @ts-expect-error an unknown key in a body
const unknownKey = await updateSystemConfig(client, { body: { retention: 3 } });
assert.ok(unknownKey.status === 422);
assert.deepEqual(unknownKey.data.detail[0]?.loc, ['body', 'retention']);

// 404: none of these is there. 410: a picture whose file was deleted.
for (const name of named) {
  const result = await valid[name](client, {
    camera_id: 'attic',
    detection_id: 4_000_000,
    event_id: 4_000_000,
  });
  assert.equal(result.status, 404, name);
}
await rm(original);
const gone = await getDetectionOriginal(client, { path: ids });
assert.ok(gone.status === 410);
assert.match(gone.data.detail, /gone/);

// 401 without a key and with a wrong one, 429 after too many wrong ones; a function is asked for
// the key. The right one is not affected.
const keyless = noting(createClient({ baseUrl }));
for (const name of secured) assert.equal((await valid[name](keyless, ids)).status, 401, name);
for (const key of ['wrong-key', () => Promise.resolve('wrong-key')]) {
  assert.equal((await valid.runCleanup(createClient({ baseUrl, apiKey: key }), ids)).status, 401);
}
const tooMany = await eventually('too many wrong keys', async () => {
  const result = await listEvents(createClient({ baseUrl, apiKey: 'wrong-key' }));
  return result.status === 429 ? result : undefined;
});
assert.ok(tooMany.retryAfterSeconds !== null && tooMany.retryAfterSeconds > 0);
await assert.rejects(
  streamEvents(keyless).next(),
  (error) => error instanceof StatusError && error.status === 401,
);

// A session is for browsers: the key is traded, and the cookie is not for us.
assert.equal(unwrap(await createSession(client)).key_required, true);
assert.deepEqual(unwrap(await deleteSession(client)), { ended: false });

// 403: a write that a page of another site sent.
const foreignPage = createClient({
  baseUrl,
  apiKey,
  fetch: (url, init) => {
    const headers = new Headers(init?.headers);
    headers.set('Origin', 'https://elsewhere.example');
    return fetch(url, { ...init, headers });
  },
});
assert.equal((await updateEvent(foreignPage, { path: ids, body: {} })).status, 403);

assert.ok(
  (
    await valid.runCleanup(
      noting(createClient({ baseUrl, apiKey: () => Promise.resolve(apiKey) })),
      ids,
    )
  ).ok,
);

// 413: more than the server reads.
const tooLarge = await requeueDeadLetters(client, { body: { cause: 'x'.repeat(70_000) } });
assert.ok(tooLarge.status === 413);
assert.equal(typeof tooLarge.data.detail, 'string');

// 503: the health checks hand their whole body over, the others say when to try again.
const down = noting(createClient({ baseUrl: setting('HSI_DOWN_URL'), apiKey }));
for (const call of Object.values(valid)) await call(down, ids);
const stop = new AbortController();
const onReconnect = (cause: Error) => {
  assert.ok(cause instanceof StatusError && cause.status === 503);
  stop.abort();
};
for await (const _ of streamEvents(down, { signal: stop.signal, onReconnect }))
  assert.fail('a frame without a database');
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

// The README speaks of what nobody has looked at.
unwrap(await updateEvent(client, { path: ids, body: { reviewed: false } }));

console.log(JSON.stringify(seen));

// Lists that are read from page to page.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createClient, eachDetection, eachEvent, StatusError } from '../dist/index.js';
import { json, scriptedServer } from './support/scripted.js';

const script = scriptedServer();
const client = () => createClient({ baseUrl: script.baseUrl });

/** Answers with three pages, of which the second is empty, as a search that found nothing so far. */
function threePages(/** @type {string} */ key) {
  /** @type {Record<string, object>} */
  const pages = {
    first: { [key]: [{ id: 5 }, { id: 4 }], next_cursor: 'second' },
    second: { [key]: [], next_cursor: 'third' },
    third: { [key]: [{ id: 3 }], next_cursor: null },
  };
  script.answer = ({ url }, response) => {
    const cursor = new URL(url, script.baseUrl).searchParams.get('cursor') ?? 'first';
    json(response, 200, pages[cursor]);
  };
}

const urls = () => script.seen.map(({ url }) => url);

test('every row of every page comes once, with the filter asked for', async () => {
  threePages('events');
  const query = { camera_id: ['a', 'b'], limit: 2, offset: 1 };
  const ids = [];
  for await (const event of eachEvent(client(), { query })) ids.push(event.id);
  assert.deepEqual(ids, [5, 4, 3]);
  assert.deepEqual(urls(), [
    '/api/events?camera_id=a%2Cb&limit=2&offset=1',
    '/api/events?camera_id=a%2Cb&limit=2&cursor=second',
    '/api/events?camera_id=a%2Cb&limit=2&cursor=third',
  ]);
  assert.deepEqual(
    query,
    { camera_id: ['a', 'b'], limit: 2, offset: 1 },
    'the options of the caller are his',
  );

  threePages('detections');
  const detections = [];
  for await (const { id } of eachDetection(client())) detections.push(id);
  assert.deepEqual(detections, [5, 4, 3]);
});

test('a page is asked for when its first row is, and not before', async () => {
  threePages('events');
  for await (const { id } of eachEvent(client())) if (id === 4) break;
  assert.deepEqual(urls(), ['/api/events']);
});

test('a page that is refused ends it', async () => {
  script.answer = ({ url }, response) =>
    url.includes('cursor')
      ? json(response, 503, { detail: 'Database unavailable' })
      : json(response, 200, { events: [{ id: 1 }], next_cursor: 'x' });
  const ids = /** @type {number[]} */ ([]);
  const walk = async () => {
    for await (const { id } of eachEvent(client())) ids.push(id);
  };
  await assert.rejects(walk(), (error) => error instanceof StatusError && error.status === 503);
  assert.deepEqual(ids, [1]);
});

test('an aborted signal ends it with its reason', async () => {
  threePages('events');
  const controller = new AbortController();
  const reason = new Error('enough');
  const walk = async () => {
    for await (const { id } of eachEvent(client(), { signal: controller.signal }))
      if (id === 4) controller.abort(reason);
  };
  await assert.rejects(walk(), (error) => error === reason);
  assert.equal(script.seen.length, 1);
});

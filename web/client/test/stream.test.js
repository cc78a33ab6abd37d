// Server-sent events: how they are read, and that a stream that is cut goes on where it was.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { createClient, StatusError, TimeoutError, UnexpectedResponseError } from '../dist/index.js';
import { EventParser } from '../dist/event-parser.js';
import { stream } from '../dist/stream.js';
import { cut, json, scriptedServer } from './support/scripted.js';

/** @typedef {{ kind: string, data: any, lastEventId: string | null }} Frame */
/** @typedef {import('node:http').ServerResponse} Response */

const script = scriptedServer();
const operation = {
  method: 'GET',
  path: '/api/events/stream',
  statuses: [200, 401, 403, 429, 500, 503],
  secured: true,
  kinds: ['event', 'resync', 'lagged', 'system_status'],
};

/**
 * @param {import('../dist/index.js').StreamOptions} [options]
 * @param {import('../dist/index.js').ClientOptions} [settings]
 */
function follow(options, settings) {
  /** @type {AsyncGenerator<Frame, void, undefined>} */
  const frames = stream(createClient({ baseUrl: script.baseUrl, ...settings }), operation, options);
  return frames;
}

/**
 * The next frames, after which the stream is left.
 * @param {AsyncGenerator<Frame, void, undefined>} frames
 * @param {number} count
 */
async function take(frames, count) {
  const taken = /** @type {Frame[]} */ ([]);
  for await (const frame of frames) if (taken.push(frame) === count) break;
  return taken;
}

/** @param {Response} response */
const begin = (response, text = '') =>
  void response
    .writeHead(200, { 'Content-Type': 'text/event-stream' })
    .write(`retry: 0\n${text}\n`);
/** @param {number} id */
const event = (id) => `event: event\nid: e-${id}\ndata: {"id":${id}}\n\n`;
const positions = () => script.seen.map(({ headers }) => headers['last-event-id']);

/** @type {[string, string, [string, string, string | null][]][]} */
const texts = [
  ['the three ends of a line', 'data: a\r\n\r\ndata: b\n\ndata: c\r\r', [['message', 'a', null], ['message', 'b', null], ['message', 'c', null]]], // prettier-ignore
  [
    'data of several lines',
    'data: {\ndata:  "a": 1\ndata:}\n\n',
    [['message', '{\n "a": 1\n}', null]],
  ],
  ['empty lines of data', 'data\ndata:\n\n', [['message', '\n', null]]],
  ['a kind', 'event: camera\ndata: 1\n\ndata: 2\n\n', [['camera', '1', null], ['message', '2', null]]], // prettier-ignore
  [
    'comments and unknown fields',
    ': hello\nfoo: bar\nfoo\n:\ndata: a\n\n: bye\n\n',
    [['message', 'a', null]],
  ],
  ['an id, which stays', 'id: 1\ndata: a\n\ndata: b\n\n', [['message', 'a', '1'], ['message', 'b', '1']]], // prettier-ignore
  ['an id without data', 'id: 7\n\ndata: a\n\n', [['message', 'a', '7']]],
  ['an empty id', 'id: 7\ndata: a\n\nid\ndata: b\n\n', [['message', 'a', '7'], ['message', 'b', null]]], // prettier-ignore
  ['an id with a NUL', 'id: 7\0\ndata: a\n\n', [['message', 'a', null]]],
  ['a kind without data', 'event: a\n\ndata: b\n\n', [['message', 'b', null]]],
  ['a colon in the data', 'data: a: b:c\ndata:d\n\n', [['message', 'a: b:c\nd', null]]],
  ['what is not finished', 'data: a\n\nid: 9\ndata: b\n', [['message', 'a', null]]],
];

for (const [name, text, expected] of texts) {
  test(`${name}, cut anywhere`, () => {
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const parser = new EventParser(null);
        const events = [
          text.slice(0, first),
          text.slice(first, second),
          text.slice(second),
        ].flatMap((part) => parser.push(part));
        assert.deepEqual(
          events.map(({ type, data, lastEventId }) => [type, data, lastEventId]),
          expected,
          `cut at ${first} and ${second}`,
        );
      }
    }
  });
}

test('the id of an event that is not finished does not count, and the waiting time does at once', () => {
  const parser = new EventParser('5');
  parser.push('id: 6\ndata: a\nretry: 30\nretry: 3s\n');
  assert.equal(parser.lastEventId, '5');
  assert.equal(parser.retryMs, 30);
  parser.push('\n');
  assert.equal(parser.lastEventId, '6');
});

test('frames have their kind, data and position; what the contract does not have is passed over', async () => {
  const text =
    'event: system_status\ndata: {"health":"healthy"}\n\nevent: later\nid: e-3\ndata: x\n\nevent: lagged\ndata: {"behind":2}\n\n';
  script.answer = (_, response) => {
    begin(response, 'id: e-2\n');
    for (const byte of Buffer.from(
      `\ufeff: bytes\n\n${text}${event(4)}event: event\ndata: {"name":"K\u00fcche"}\n\n`,
    ))
      response.write(Buffer.from([byte]));
  };
  assert.deepEqual(await take(follow(), 4), [
    { kind: 'system_status', data: { health: 'healthy' }, lastEventId: 'e-2' },
    { kind: 'lagged', data: { behind: 2 }, lastEventId: 'e-3' },
    { kind: 'event', data: { id: 4 }, lastEventId: 'e-4' },
    { kind: 'event', data: { name: 'K\u00fcche' }, lastEventId: 'e-4' },
  ]);
  assert.equal(script.seen[0]?.url, '/api/events/stream', 'neither key nor position is in the URL');
  assert.match(script.seen[0]?.headers.accept ?? '', /^text\/event-stream/);
});

test('a stream that is cut goes on behind the last whole frame', async () => {
  script.answer = ({ headers }, response) => {
    if (headers['last-event-id'] === undefined) {
      begin(response, 'id: e-1\n');
      response.write(event(2) + event(3) + event(4).slice(0, -1));
      setTimeout(() => cut(response), 20);
    } else {
      begin(response);
      response.write(event(4));
    }
  };
  const causes = /** @type {Error[]} */ ([]);
  let keys = 0;
  const frames = follow(
    { onReconnect: (cause) => causes.push(cause) },
    { apiKey: () => `key-${++keys}` },
  );
  const taken = await take(frames, 3);
  assert.deepEqual(
    taken.map(({ data }) => data.id),
    [2, 3, 4],
  );
  assert.deepEqual(positions(), [undefined, 'e-3']);
  assert.deepEqual(
    script.seen.map(({ headers }) => headers['x-api-key']),
    ['key-1', 'key-2'],
  );
  assert.deepEqual(
    causes.map(({ name }) => name),
    ['ConnectionError'],
  );
});

test('a position without a frame is one to go on from, and the caller may give one', async () => {
  script.answer = ({ headers }, response) => {
    begin(response, headers['last-event-id'] === 'mine-8' ? 'id: e-9\n' : '');
    if (headers['last-event-id'] === 'e-9') response.write(event(10));
    else response.end();
  };
  assert.deepEqual(await take(follow({ lastEventId: 'mine-8' }), 1), [
    { kind: 'event', data: { id: 10 }, lastEventId: 'e-10' },
  ]);
  assert.deepEqual(positions(), ['mine-8', 'e-9']);
});

test('hundreds of cuts at any byte: every frame in order, none twice, none missing', async () => {
  const last = 400;
  let seed = 12345;
  const random = (/** @type {number} */ below) => (seed = (seed * 48271) % 2147483647) % below;
  script.answer = ({ headers }, response) => {
    const after = Number(headers['last-event-id']?.slice(2) ?? 0);
    let text = `retry: 0\nid: e-${after}\n\n`;
    for (let id = after + 1; id <= Math.min(after + 20, last); id++) text += event(id);
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write(text.slice(0, random(Math.min(text.length, 200)) + 1));
    setTimeout(() => cut(response), 1);
  };
  const taken = await take(follow(), last);
  assert.deepEqual(
    taken.map(({ data }) => data.id),
    Array.from({ length: last }, (_, i) => i + 1),
  );
  assert.ok(script.seen.length > 100, `${script.seen.length} connections`);
});

test('a server that is away for a while is asked again, and says how soon', async () => {
  const answers = /** @type {((response: Response) => void)[]} */ ([
    (response) => {
      begin(response, 'id: e-1\n');
      response.end('retry: 1\n');
    },
    (response) => json(response, 503, { detail: 'Database unavailable' }, { 'Retry-After': '1' }),
    (response) =>
      response.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad Gateway</h1>'),
    (response) => begin(response, event(2)),
  ]);
  script.answer = (_, response) => answers.shift()?.(response);
  const lost = /** @type {[Error, number][]} */ ([]);
  await take(follow({ onReconnect: (...args) => lost.push(args) }), 1);
  assert.deepEqual(positions(), [undefined, 'e-1', 'e-1', 'e-1']);
  assert.deepEqual(
    lost.map(([{ name }]) => name),
    ['ConnectionError', 'StatusError', 'UnexpectedResponseError'],
  );
  assert.ok(lost[0]?.[1] !== undefined && lost[0][1] <= 1, 'as the server asked');
  assert.ok(lost[1]?.[1] !== undefined && lost[1][1] >= 1000, 'Retry-After');
  assert.ok(
    lost[2]?.[1] !== undefined && lost[2][1] > 0 && lost[2][1] <= 3001,
    'longer with each failure',
  );
});

test('what another try would not change is thrown', async () => {
  for (const status of [401, 403, 429]) {
    script.answer = (_, response) => json(response, status, { detail: 'no' });
    await assert.rejects(
      take(follow(), 1),
      (error) => error instanceof StatusError && error.status === status,
    );
  }
  script.answer = (_, response) =>
    response.writeHead(404, { 'Content-Type': 'text/html' }).end('<h1>Not Found</h1>');
  await assert.rejects(take(follow(), 1), UnexpectedResponseError);
  script.answer = (_, response) =>
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<h1>Sign in</h1>');
  await assert.rejects(take(follow(), 1), UnexpectedResponseError);
  script.answer = (_, response) => begin(response, 'event: event\ndata: {"id":\n\n');
  await assert.rejects(take(follow(), 1), /the data of event is not JSON/);
  assert.equal(script.seen.length, 6, 'each was asked once');
});

test('a connection that is silent is given up, one on which only comments come is not', async () => {
  script.answer = ({ headers }, response) => {
    begin(response, 'id: e-1\n');
    if (headers['last-event-id'] === undefined) return; // and then nothing
    let comments = 0;
    const timer = setInterval(() => {
      response.write(': still here\n\n');
      if (++comments < 14) return;
      clearInterval(timer);
      response.write(event(2));
    }, 50);
  };
  const causes = /** @type {Error[]} */ ([]);
  await take(follow({ silenceMs: 500, onReconnect: (cause) => causes.push(cause) }), 1);
  assert.equal(script.seen.length, 2);
  assert.ok(causes[0] instanceof TimeoutError);
});

test('leaving the loop ends the connection', async () => {
  /** @type {Promise<unknown> | undefined} */ let closed;
  script.answer = (_, response) => {
    closed = once(response, 'close');
    begin(response, event(1));
  };
  await take(follow(), 1);
  await closed;
});

test('an aborted signal ends the loop: while it waits, between frames, between connections and before the first', async () => {
  for (const when of ['waiting', 'frame', 'reconnect', 'before']) {
    const controller = new AbortController();
    const stop = () => controller.abort();
    script.seen = [];
    script.answer = (_, response) => {
      begin(response, event(1) + event(2));
      if (when === 'waiting') setTimeout(stop, 30);
      if (when === 'reconnect') response.end('retry: 600000\n');
    };
    if (when === 'before') stop();
    const ids = /** @type {number[]} */ ([]);
    const onReconnect = () => void setTimeout(stop, 30);
    for await (const { data } of follow({ signal: controller.signal, onReconnect })) {
      ids.push(data.id);
      if (when === 'frame') stop();
    }
    assert.deepEqual(
      ids,
      { waiting: [1, 2], frame: [1], reconnect: [1, 2], before: [] }[when],
      when,
    );
    assert.equal(script.seen.length, when === 'before' ? 0 : 1, when);
  }
});

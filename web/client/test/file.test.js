// Files: pictures and the export.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  ConnectionError,
  createClient,
  exportEvents,
  getEventImage,
  StatusError,
  TimeoutError,
  UnexpectedResponseError,
} from '../dist/index.js';
import { cut, json, scriptedServer } from './support/scripted.js';

const script = scriptedServer();
const client = (/** @type {object} */ options = {}) =>
  createClient({ baseUrl: script.baseUrl, ...options });
const path = { event_id: 7 };

/** Where a file goes, and what became of it. */
function destination() {
  const written = { text: '', closed: false, aborted: /** @type {unknown} */ (undefined) };
  const to = new WritableStream({
    write: (piece) => void (written.text += new TextDecoder().decode(piece)),
    close: () => void (written.closed = true),
    abort: (reason) => void (written.aborted = reason),
  });
  return { to, written };
}

test('a picture is a Blob of the type that the server says, with its headers', async () => {
  script.answer = (_, response) =>
    response
      .writeHead(200, { 'Content-Type': 'image/png', ETag: '"abc"' })
      .end(Buffer.from([0, 255, 10, 13]));
  const result = await getEventImage(client({ apiKey: 'secret-key' }), {
    path,
    query: { width: 640 },
  });
  assert.ok(result.ok);
  assert.equal(result.status, 200);
  assert.equal(result.data.type, 'image/png');
  assert.deepEqual(
    new Uint8Array(await result.data.arrayBuffer()),
    new Uint8Array([0, 255, 10, 13]),
  );
  assert.equal(result.headers.get('ETag'), '"abc"');
  const [request] = script.seen;
  assert.equal(request?.url, '/api/events/7/image?width=640');
  assert.equal(request?.headers['x-api-key'], 'secret-key');
  assert.equal(request?.headers.accept, 'image/*, application/json');
});

test('a file that is there already is not sent again', async () => {
  script.answer = (_, response) => response.writeHead(304, { ETag: '"abc"' }).end();
  const result = await getEventImage(client(), { path, ifNoneMatch: '"abc"' });
  assert.ok(result.status === 304);
  assert.equal(result.ok, false);
  assert.equal(result.data, undefined);
  assert.equal(script.seen[0]?.headers['if-none-match'], '"abc"');
});

test('a part of a file', async () => {
  script.answer = (_, response) =>
    response
      .writeHead(206, { 'Content-Type': 'image/jpeg', 'Content-Range': 'bytes 1-3/9' })
      .end('bcd');
  const result = await getEventImage(client(), { path, range: 'bytes=1-3' });
  assert.ok(result.status === 206);
  assert.equal(await result.data.text(), 'bcd');
  assert.equal(result.headers.get('Content-Range'), 'bytes 1-3/9');
  assert.equal(script.seen[0]?.headers.range, 'bytes=1-3');
});

test('a documented failure is data, whatever was asked for', async () => {
  for (const status of [401, 403, 404, 410, 416, 429, 503]) {
    script.answer = (_, response) =>
      json(response, status, { detail: 'no' }, { 'Retry-After': '3' });
    const { to, written } = destination();
    const result = await getEventImage(client(), { path, to });
    assert.equal(result.status, status);
    assert.equal(result.retryAfterSeconds, 3);
    assert.deepEqual(result.data, { detail: 'no' });
    assert.ok(written.aborted instanceof StatusError && written.aborted.status === status);
    assert.equal(written.closed, false);
  }
});

test('what is no such file is not handed over as one', async () => {
  /** @type {[number, string][]} */
  const answers = [
    [200, 'text/html'],
    [200, 'application/json'],
    [200, 'text/csv'],
    [201, 'image/png'],
    [502, 'image/png'],
    [404, 'image/png'],
  ];
  for (const [status, type] of answers) {
    script.answer = (_, response) => response.writeHead(status, { 'Content-Type': type }).end('{}');
    const { to, written } = destination();
    await assert.rejects(
      getEventImage(client(), { path, to }),
      UnexpectedResponseError,
      `${status} ${type}`,
    );
    assert.ok(written.aborted instanceof UnexpectedResponseError);
  }
});

test('an export is text, or goes piece by piece where the caller wants it', async () => {
  script.answer = (_, response) => {
    response.writeHead(200, {
      'Content-Type': 'text/csv; charset=utf-8',
      'Content-Disposition': 'attachment; filename="events.csv"',
    });
    response.write('event_id,camera_name\n1,Haust');
    response.end('\u00fcr\n');
  };
  const whole = await exportEvents(client(), { query: { risk_level: ['high', 'critical'] } });
  assert.ok(whole.ok);
  assert.equal(whole.data, 'event_id,camera_name\n1,Haust\u00fcr\n');
  assert.match(whole.headers.get('Content-Disposition') ?? '', /events\.csv/);
  assert.equal(script.seen[0]?.url, '/api/events/export?risk_level=high%2Ccritical');

  const { to, written } = destination();
  const result = await exportEvents(client(), { to });
  assert.equal(result.data, '');
  assert.deepEqual(written, { text: whole.data, closed: true, aborted: undefined });
});

test('a file that breaks off fails, with and without a length', async () => {
  for (const headers of [{}, { 'Content-Length': '1000' }]) {
    script.answer = (_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/csv', ...headers }).write('event_id\n1\n');
      setTimeout(() => cut(response), 20);
    };
    await assert.rejects(exportEvents(client()), ConnectionError);
    const { to, written } = destination();
    await assert.rejects(exportEvents(client(), { to }), ConnectionError);
    assert.equal(written.closed, false);
    assert.ok(written.aborted instanceof ConnectionError);
  }
});

test('the limit is for each piece, not for the whole file', async () => {
  script.answer = (_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/csv' });
    let pieces = 0;
    const timer = setInterval(() => {
      response.write('x');
      if (++pieces < 8) return;
      clearInterval(timer);
      response.end();
    }, 50);
  };
  const result = await exportEvents(client({ timeoutMs: 300 }));
  assert.equal(result.data, 'xxxxxxxx');

  script.answer = (_, response) =>
    void response.writeHead(200, { 'Content-Type': 'text/csv' }).write('x');
  await assert.rejects(exportEvents(client({ timeoutMs: 50 })), TimeoutError);
});

test('an aborted download rejects with the reason of its signal', async () => {
  const controller = new AbortController();
  const reason = new Error('the page was left');
  script.answer = (_, response) =>
    void response.writeHead(200, { 'Content-Type': 'text/csv' }).write('x');
  const { to, written } = destination();
  const download = exportEvents(client(), { signal: controller.signal, to });
  setTimeout(() => controller.abort(reason), 30);
  await assert.rejects(download, (error) => error === reason);
  assert.equal(written.aborted, reason);
});

test('a destination that fails fails the call with its own reason', async () => {
  const full = new Error('no space left');
  const to = new WritableStream({ write: () => Promise.reject(full) });
  script.answer = (_, response) =>
    response.writeHead(200, { 'Content-Type': 'text/csv' }).end('x'.repeat(100_000));
  await assert.rejects(exportEvents(client(), { to }), (error) => error === full);
});

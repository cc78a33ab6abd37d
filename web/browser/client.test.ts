// The TypeScript client, as it is packed, in a page of the server: the key is traded for a session,
// and the browser's cookie does the rest.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { launch } from './page.ts';
import { Server, patienceMs, until } from './server.ts';

const key = 'correct-horse-battery';
const dist = resolve(import.meta.dirname, '../client/dist');
let server: Server;
let browser: Browser;
let page: Page;
const urls: string[] = [];

beforeAll(async () => {
  [server, browser] = await Promise.all([
    Server.start({ API_KEY_ENABLED: 'true', API_KEYS: key }),
    launch(),
  ]);
  server.startDemo();
  page = await browser.newPage();
  page.setDefaultTimeout(patienceMs);
  page.on('request', (request) => urls.push(request.url()));
  await page.route('**/client/**', async (route) => {
    const name = new URL(route.request().url()).pathname.replace('/client/', '');
    if (name !== '')
      return route.fulfill({
        contentType: 'text/javascript',
        body: readFileSync(resolve(dist, name)),
      });
    const body =
      '<!doctype html><title>Client</title><script type="module">import * as api from "./index.js"; window.api = api;</script>';
    return route.fulfill({ contentType: 'text/html', body });
  });
  await page.goto(`${server.url}client/`);
  await page.waitForFunction(() => 'api' in window);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

declare global {
  interface Window {
    api: typeof import('../client/src/index.ts');
  }
}

test('nothing is shown without a key, and everything with a session', async () => {
  const statuses = await page.evaluate(async (apiKey) => {
    const { createClient, createSession, listEvents, unwrap } = window.api;
    const before = await listEvents(createClient());
    const { key_required } = unwrap(await createSession(createClient({ apiKey })));
    return [
      before.status,
      key_required,
      (await listEvents(createClient())).status,
      document.cookie,
    ];
  }, key);
  expect(statuses).toEqual([401, true, 200, '']);
});

test('events come page by page and live, their pictures and the export with them', async () => {
  await until('two events', () =>
    page.evaluate(
      async () =>
        window.api.unwrap(await window.api.listEvents(window.api.createClient())).count >= 2,
    ),
  );
  const seen = await page.evaluate(async () => {
    const {
      createClient,
      eachEvent,
      exportEvents,
      getEventImage,
      listEvents,
      streamEvents,
      unwrap,
      updateEvent,
    } = window.api;
    const client = createClient();
    const { position } = unwrap(await listEvents(client));
    let [event, rows] = [0, 0];
    for await (const { id } of eachEvent(client, { query: { limit: 1, order: 'asc' } })) {
      event = id;
      if (++rows === 2) break;
    }
    const picture = await getEventImage(client, { path: { event_id: event } });
    const bitmap = await createImageBitmap(unwrap(picture));
    const table = unwrap(await exportEvents(client));
    unwrap(await updateEvent(client, { path: { event_id: event }, body: { reviewed: true } }));
    let isLive = false;
    for await (const frame of streamEvents(client, { lastEventId: position })) {
      isLive = frame.kind === 'event_changed' && frame.data.id === event && frame.data.reviewed;
      if (isLive) break;
    }
    return {
      rows,
      isLive,
      isPicture: bitmap.width > 0 && picture.headers.get('ETag') !== null,
      isInTable: table.includes(`\n${event},`),
    };
  });
  expect(seen).toEqual({ rows: 2, isLive: true, isPicture: true, isInTable: true });
});

test('the session ends, and with it what is shown', async () => {
  const statuses = await page.evaluate(async () => {
    const { createClient, deleteSession, listEvents, unwrap } = window.api;
    return [
      unwrap(await deleteSession(createClient())).ended,
      (await listEvents(createClient())).status,
    ];
  });
  expect(statuses).toEqual([true, 401]);
});

test('no key was in a URL', () => {
  expect(urls.length).toBeGreaterThan(10);
  expect(urls.filter((url) => url.includes(key))).toEqual([]);
});

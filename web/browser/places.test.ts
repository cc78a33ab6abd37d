// The same pages from other places: below a path, by a name over plain http, in a browser without
// shared workers, after a sleep.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { Gate } from './gate.ts';
import { launch } from './page.ts';
import { insertEvents } from './seen-data.ts';
import { Server, until } from './server.ts';

const name = 'cameras.home.arpa';
let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([
    Server.start({ ALLOWED_HOSTS: name }),
    launch([`--host-resolver-rules=MAP ${name} 127.0.0.1`]),
  ]);
  await insertEvents(server, 200, 5);
  server.startDemo();
  await until('a picture has become an event', async () => {
    const { rows } = await server.sql(`SELECT FROM events WHERE camera_id = 'demo'`);
    return rows.length > 0;
  });
  await server.stopDemo();
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const cards = (page: Page) => page.getByRole('article');

/** A page that notes what a page must not do, wherever the server is. */
async function open(url: string): Promise<{ page: Page; problems: string[] }> {
  const page = await (await browser.newContext()).newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error') problems.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(url)) problems.push(`elsewhere: ${request.url()}`);
  });
  return { page, problems };
}

/** Goes to every page by its address and by links, and back. */
async function visitAll(page: Page, root: string): Promise<void> {
  await page.goto(root);
  await cards(page).first().waitFor();
  await page.getByRole('link', { name: 'Cameras' }).click();
  await page.getByRole('heading', { level: 1, name: 'Cameras' }).waitFor();
  await page.goto(`${root}cameras/demo`);
  await page.getByRole('heading', { level: 1, name: 'demo' }).waitFor();
  await page.goto(`${root}system#health`);
  await page.getByText('Everything works').first().waitFor();
  await page.goto(`${root}?camera_id=demo`);
  await cards(page).first().getByRole('link').click();
  await page.getByRole('heading', { level: 1, name: /^(Motion|Person) at demo/ }).waitFor();
  await page.reload();
  await page.getByRole('heading', { level: 1, name: /^(Motion|Person) at demo/ }).waitFor();
  expect(new URL(page.url()).pathname).toMatch(/\/events\/\d+$/);
  await page.getByRole('link', { name: 'All events' }).click();
  await cards(page).first().waitFor();
}

/** Puts one event into the database and waits until the page tells it. */
async function isTold(page: Page, summary: string): Promise<void> {
  await server.sql(
    `INSERT INTO events (camera_id, started_at, risk_level, summary, object_types)
     VALUES ('demo', now(), 'high', $1, 'person')`,
    [summary],
  );
  const told = page.getByText(new RegExp(`${summary}|^\\d+ new$`)).first();
  await told.waitFor();
  expect(await told.isVisible()).toBe(true);
}

test('below a path that a proxy takes away', async () => {
  const gate = await Gate.open(server, '/home/cameras/');
  const { page, problems } = await open(gate.url);
  await visitAll(page, gate.url);
  await isTold(page, 'Below a path');
  expect(problems).toEqual([]);
  await page.context().close();
  await gate.close();
});

test('by a name over plain http, where browsers keep much to themselves', async () => {
  const root = `http://${name}:${new URL(server.url).port}/`;
  const { page, problems } = await open(root);
  await visitAll(page, root);
  expect(await page.evaluate(() => window.isSecureContext)).toBe(false);
  await isTold(page, 'By a name');
  expect(problems).toEqual([]);
  await page.context().close();
});

test('ten minutes asleep: awake, the page has what happened', async () => {
  const gate = await Gate.open(server, '/');
  const { page } = await open(gate.url);
  await page.clock.install();
  await page.addInitScript(() => Reflect.deleteProperty(window, 'SharedWorker'));
  await page.goto(gate.url);
  await cards(page).first().waitFor();
  await expect.poll(() => gate.streams).toBe(1);
  gate.freeze(); // the connection is dead, and nobody says so
  await server.sql(`UPDATE events SET summary = 'While it slept' WHERE id = (
    SELECT id FROM events ORDER BY started_at DESC, id DESC LIMIT 1)`);
  await page.clock.fastForward('10:00');
  gate.letThrough();
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await page.getByText('While it slept').waitFor();
  await expect.poll(() => gate.streams).toBe(1);
  await page.context().close();
  await gate.close();
});

// What the page says while things break, and that it recovers by itself.
import type { Browser, Page, Request } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';

import { accessibilityFindings, launch, leave, panel, screenshot, visit } from './page.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;
let page: Page;
let problems: string[];

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  server.startDemo();
  await until('an event has come', async () => (await server.get('stats')).total_events > 0);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});
beforeEach(async () => {
  ({ page, problems } = await visit(browser, server, {}, 'system'));
  await page.getByText('Everything works').first().waitFor();
  await panel(page, 'Configuration').getByLabel('Keep data for').waitFor();
});
afterEach(() => leave(page));

/** The browser itself writes failed requests to the console; nothing else may be there. */
const ofTheFault = /Failed to load resource/;

const staleParts = () => page.locator('.fresh.is-stale').count();

async function everythingIsFresh(): Promise<void> {
  await page.getByText('Everything works').first().waitFor();
  await expect.poll(staleParts).toBe(0);
}

test('PostgreSQL stops and goes on', async () => {
  server.freezePostgres();
  try {
    await page.getByText('Not working', { exact: true }).first().waitFor();
    const health = panel(page, 'Health');
    const database = health.getByRole('listitem').filter({ hasText: 'Database' });
    expect(await database.innerText()).toMatch(
      /Database health check timed out[\s\S]*Check that PostgreSQL runs[\s\S]*Unhealthy/,
    );
    expect(await page.getByText('Everything works').count()).toBe(0);
    // What needs the database is kept, greyed, and says why; what does not need it goes on.
    const settings = panel(page, 'Configuration');
    await settings
      .getByText(/Shown as it was before: (Database unavailable|No answer in time)\./)
      .first()
      .waitFor();
    expect(await settings.locator('.fresh.is-stale').count()).toBe(1);
    await expect.poll(() => settings.innerText()).toMatch(/Not current, last answer \d+ s ago/);
    expect(await panel(page, 'Severity').locator('.is-stale').count()).toBe(0);
    expect(await accessibilityFindings(page)).toEqual([]);
    await screenshot(page, 'degraded');
  } finally {
    server.thawPostgres();
  }
  await everythingIsFresh();
  expect(problems.filter((problem) => !ofTheFault.test(problem))).toEqual([]);
});

test('the server dies and comes back', async () => {
  await server.kill();
  await page.getByText('The server cannot be reached').first().waitFor();
  await page.getByText('No connection').first().waitFor();
  expect(await page.title()).toBe('The server cannot be reached – Home Security Intelligence');
  await page
    .getByText(/Last answer at \d\d:\d\d:\d\d/)
    .first()
    .waitFor();
  // Nothing is shown as if it were the present.
  const parts = await page.locator('.fresh').count();
  expect(await staleParts()).toBe(parts);
  expect(parts).toBeGreaterThan(6);
  expect(await accessibilityFindings(page)).toEqual([]);
  await server.up();
  await everythingIsFresh();
  expect(problems.filter((problem) => !ofTheFault.test(problem))).toEqual([]);
});

test('a server that hangs is noticed too', async () => {
  server.freeze();
  try {
    await page.getByText('The server cannot be reached').first().waitFor();
    await page.getByText('The server gave no answer for 4 seconds.').first().waitFor();
  } finally {
    server.thaw();
  }
  await everythingIsFresh();
});

test('a page that is opened while nobody answers says so, and begins when the server does', async () => {
  await page.route('**/api/**', (route) => route.abort());
  await page.reload();
  await page.getByText('The server cannot be reached').first().waitFor();
  await page.getByText('It has not answered since this page was opened.').first().waitFor();
  expect(await panel(page, 'Configuration').getByText('Not available.').count()).toBe(1);
  await page.unroute('**/api/**');
  await everythingIsFresh();
});

test('something else at this address is not taken for the server', async () => {
  await page.route('**/api/**', (route) =>
    route.fulfill({ status: 502, contentType: 'text/html', body: '<h1>Bad Gateway</h1>' }),
  );
  await page.getByText('Something else than the server answers at this address.').first().waitFor();
  await page.unroute('**/api/**');
  await everythingIsFresh();
});

test('a hidden tab asks nothing, and catches up when it is shown', async () => {
  await page.clock.install();
  await page.reload();
  await everythingIsFresh();
  let asked = 0;
  const underWay = new Set<Request>();
  page.on('request', (request) => (asked++, underWay.add(request)));
  page.on('requestfinished', (request) => underWay.delete(request));
  page.on('requestfailed', (request) => underWay.delete(request));
  const setHidden = (hidden: boolean) =>
    page.evaluate((value) => {
      Object.defineProperty(document, 'hidden', { value, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden);
  await setHidden(true);
  await expect.poll(() => underWay.size).toBe(0);
  const whenHidden = asked;
  await page.clock.runFor(10 * 60_000); // many turns of the heartbeat, by the page's own clock
  expect(asked).toBe(whenHidden);
  await setHidden(false);
  await expect.poll(() => asked).toBeGreaterThan(whenHidden + 5);
  await everythingIsFresh();
});

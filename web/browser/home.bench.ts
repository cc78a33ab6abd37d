// How soon what happened is on the screen: figures, measured by `make page-bench` and by no test.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { launch } from './page.ts';
import { insertEvents } from './seen-data.ts';
import { Server, until } from './server.ts';

/** HSI_BENCH_EVENTS=1000000 takes some minutes to load. */
const events = Number(process.env['HSI_BENCH_EVENTS'] ?? 100_000);
let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  await insertEvents(server, events, 60);
  // What the cameras really sent is the newest: it has pictures.
  server.startDemo();
  await until('a picture has become an event', async () => {
    const { rows } = await server.sql(`SELECT FROM events WHERE camera_id = 'demo'`);
    return rows.length > 0;
  });
  await server.stopDemo();
}, 1_800_000);
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const median = (times: number[]) =>
  Math.round(times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN);

test('the first event with its picture, nothing cached', async () => {
  const times: number[] = [];
  for (let round = 0; round < 15; round++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript(() => {
      const look = () => {
        const picture = document.querySelector<HTMLImageElement>('.event-picture img');
        if (picture?.complete && picture.naturalWidth > 0) performance.mark('picture');
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    await page.goto(server.url);
    await page.waitForFunction(() => performance.getEntriesByName('picture').length > 0);
    times.push(
      await page.evaluate(
        () => performance.getEntriesByName('picture')[0]?.startTime ?? Number.NaN,
      ),
    );
    await context.close();
  }
  console.info(`first event with its picture, ${events} events: median ${median(times)} ms`);
  expect(median(times)).toBeLessThanOrEqual(1_000);
});

test('from the INSERT of an event to the page', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByRole('article').first().waitFor();
  await page.mouse.move(300, 300);
  await page.evaluate(() => {
    const told: number[] = [];
    Object.assign(window, { told });
    let last = '';
    new MutationObserver(() => {
      const text = document.querySelector('.later')?.textContent ?? '';
      if (text !== last && text !== '') told.push(Date.now());
      last = text;
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  const times: number[] = [];
  for (let round = 1; round <= 20; round++) {
    const beganAtMs = Date.now(); // before the connection is made: more than is asked
    await server.sql(
      `INSERT INTO events (camera_id, started_at, risk_level) VALUES ('porch', now(), 'low')`,
    );
    await page.waitForFunction(
      (count) => (window as unknown as { told: number[] }).told.length >= count,
      round,
    );
    const toldAtMs = await page.evaluate(
      () => (window as unknown as { told: number[] }).told.at(-1) ?? Number.NaN,
    );
    times.push(toldAtMs - beganAtMs);
  }
  console.info(`INSERT to page: median ${median(times)} ms, slowest ${Math.max(...times)} ms`);
  expect(median(times)).toBeLessThanOrEqual(300);
  await context.close();
});

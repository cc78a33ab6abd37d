// What happened: the list of events, from one to a hundred thousand of them.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { Gate } from './gate.ts';
import { accessibilityFindings, launch, leave, screenshot, visit } from './page.ts';
import { insertEvents } from './seen-data.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const cards = (page: Page) => page.getByRole('article');
const strip = (page: Page) => page.getByRole('slider', { name: 'Go to a time in the list' });

/** Puts one event into the database as another program does. */
async function insertOne(summary: string, startedAt = 'now()'): Promise<number> {
  const { rows } = await server.sql(
    `INSERT INTO events (camera_id, started_at, risk_score, risk_level, summary, object_types)
     VALUES ('porch', ${startedAt}, 90, 'critical', $1, 'person') RETURNING id`,
    [summary],
  );
  return Number((rows[0] as { id: string }).id);
}

test('no camera yet: what to do, and the first picture appears by itself', async () => {
  const { page, problems } = await visit(browser, server);
  await page
    .getByRole('heading', { name: /camera/i })
    .first()
    .waitFor();
  expect(await accessibilityFindings(page)).toEqual([]);
  server.startDemo();
  await cards(page).first().waitFor();
  await page.getByRole('heading', { name: 'Today' }).waitFor();
  await expect
    .poll(() =>
      cards(page)
        .locator('img')
        .first()
        .evaluate((image: HTMLImageElement) => image.complete && image.naturalWidth > 0),
    )
    .toBe(true);
  await screenshotOfHome(page);
  expect(problems.filter((problem) => !/status of 404/.test(problem))).toEqual([]);
  await leave(page);
});

/** The picture in README: some events of some cameras. */
async function screenshotOfHome(page: Page): Promise<void> {
  if (!process.env['HSI_SCREENSHOTS']) return;
  const names = ['front-door', 'garden', 'garage'];
  for (let round = 0; round < 60; round++) {
    const picture = server.demoPicture(-1 - (round % 5));
    const camera = names[round % names.length];
    if (picture !== undefined && camera !== undefined)
      server.upload(camera, `${round}.jpg`, picture);
    await page.waitForTimeout(1_000);
  }
  await page.reload();
  await cards(page).nth(8).waitFor();
  await page.waitForTimeout(3_000); // the pictures
  await screenshot(page, 'home-light', { width: 1280, height: 1100 });
  await page.emulateMedia({ colorScheme: 'dark' });
  await screenshot(page, 'home-dark', { width: 1280, height: 1100 });
  await screenshot(page, 'home-phone', { width: 390, height: 1200 });
}

test('what comes is told and moves nothing, until it is asked for', async () => {
  await insertEvents(server, 500, 10);
  const { page, problems } = await visit(browser, server);
  await cards(page).first().waitFor();
  await page.mouse.move(200, 200); // somebody is there
  await page.mouse.wheel(0, 900);
  await expect.poll(() => page.evaluate(() => window.scrollY)).toBeGreaterThan(500);
  const before = await placed(page);
  await insertOne('Ring at the porch');
  const button = page.getByRole('button', { name: /^\d+ new$/ });
  await button.waitFor();
  expect(await placed(page)).toEqual(before);
  await button.click();
  await page.getByText('Ring at the porch').waitFor();
  expect(await page.evaluate(() => window.scrollY)).toBe(0);
  expect(problems).toEqual([]);
  await leave(page);
});

/** Where each card stands, by its link. */
function placed(page: Page) {
  return page.evaluate(() =>
    [...document.querySelectorAll('.event-link')]
      .map((link) => [link.getAttribute('href'), link.getBoundingClientRect().top] as const)
      .filter(([, top]) => top > 0 && top < innerHeight)
      .toSorted(),
  );
}

test('the list is read anew under the eye: it stays where it is', async () => {
  const { page, problems } = await visit(browser, server);
  await cards(page).first().waitFor();
  await page.mouse.move(200, 200);
  await page.mouse.wheel(0, 2_000);
  await expect.poll(() => page.evaluate(() => window.scrollY)).toBeGreaterThan(1_500);
  const before = await page.evaluate(() => window.scrollY);
  const readAnew = page.waitForResponse((response) => isOfSpan(response.url()));
  // Nobody on the page knows where this one was.
  await server.sql(`DELETE FROM events WHERE id = (
    SELECT id FROM events WHERE camera_id = 'porch' ORDER BY started_at LIMIT 1)`);
  await (await readAnew).finished();
  await expect.poll(() => page.locator('.event-card.is-empty').count()).toBe(0);
  expect(await page.evaluate(() => window.scrollY)).toBe(before);
  expect(problems).toEqual([]);
  await leave(page);
});

/** A question for the newest events of all days that are shown, and not for rows of one of them. */
function isOfSpan(url: string): boolean {
  const { pathname, searchParams } = new URL(url);
  return (
    pathname === '/api/events' && searchParams.get('start_date') !== searchParams.get('end_date')
  );
}

test('an event that changes elsewhere changes in its place', async () => {
  const id = await insertOne('Before');
  const { page } = await visit(browser, server);
  const card = cards(page).filter({ has: page.locator(`a[href$="/events/${id}"]`) });
  await card.getByText('Before').waitFor();
  await server.sql(`UPDATE events SET summary = 'After', reviewed = true WHERE id = $1`, [id]);
  await card.getByText('After').waitFor();
  expect(await card.innerText()).toContain('Reviewed');
  await leave(page);
});

test('filters, days and place are in the address: reload, back and a link work', async () => {
  const { page, problems } = await visit(browser, server);
  await cards(page).first().waitFor();
  await page.getByText('Filters').click();
  await page.getByRole('checkbox', { name: 'Critical' }).check();
  await page.getByRole('radio', { name: '7 days' }).check();
  await expect.poll(() => new URL(page.url()).search).toBe('?risk_level=critical&days=7');
  await expect
    .poll(async () => new Set(await cards(page).locator('.severity-mark').allInnerTexts()))
    .toSatisfy((marks: Set<string>) => [...marks].every((mark) => mark.startsWith('Critical')));
  await strip(page).focus();
  for (let day = 0; day < 24; day++) await page.keyboard.press('ArrowLeft'); // hours
  // Scrolling has come to rest when the address names what is at the top.
  await expect
    .poll(async () => (await momentInView(page)) === new URL(page.url()).searchParams.get('at'))
    .toBe(true);
  const top = await firstInView(page);
  await page.reload();
  await expect.poll(() => firstInView(page)).toBe(top);
  await page.locator(`.event-link[href="${top}"]`).click();
  await expect.poll(() => page.url()).toBe(top);
  await page.goBack();
  await expect.poll(() => firstInView(page)).toBe(top);
  expect(problems).toEqual([]);
  await leave(page);
});

test('going back finds the list where it was left, with smooth scrolling too', async () => {
  const { page, problems } = await visit(browser, server, { reducedMotion: 'no-preference' });
  await cards(page).first().waitFor();
  await page.evaluate(() => window.scrollTo({ top: 4_000, behavior: 'instant' }));
  // Scrolling has come to rest when the address names what is at the top.
  await expect
    .poll(async () => (await momentInView(page)) === new URL(page.url()).searchParams.get('at'))
    .toBe(true);
  const top = await firstInView(page);
  await page.locator(`.event-link[href="${top}"]`).click();
  await expect.poll(() => page.url()).toBe(top);
  await page.goBack();
  await expect.poll(() => firstInView(page)).toBe(top);
  expect(await page.evaluate(() => window.scrollY)).toBe(4_000);
  expect(problems).toEqual([]);
  await leave(page);
});

test('a browser whose clock is a day behind shows the present day', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.clock.install({ time: Date.now() - 86_400_000 });
  await page.goto(server.url);
  await expect.poll(() => page.locator('.event-day-head').first().innerText()).toMatch(/^Today/);
  await context.close();
});

test('what is pressed and goes takes no focus with it', async () => {
  const { page } = await visit(browser, server);
  await cards(page).first().waitFor();
  await cards(page).first().getByRole('checkbox').check();
  await page.getByRole('button', { name: 'Select none' }).press('Enter');
  await expect
    .poll(() => page.evaluate(() => document.activeElement?.classList.contains('toolbar')))
    .toBe(true);
  await leave(page);
});

/** The first card below the head of the page: its link, and when it began. */
function cardInView(page: Page) {
  return page.evaluate(() => {
    const links = [...document.querySelectorAll<HTMLAnchorElement>('.event-link')];
    const inView = links
      .map((link) => ({ link, box: link.getBoundingClientRect() }))
      .filter(({ box }) => box.top >= 60)
      .toSorted((a, b) => a.box.top - b.box.top || a.box.left - b.box.left);
    const link = inView[0]?.link;
    return { href: link?.href, moment: link?.querySelector('time')?.dateTime };
  });
}

const firstInView = async (page: Page) => (await cardInView(page)).href;
const momentInView = async (page: Page) => (await cardInView(page)).moment;

test('many are chosen and marked reviewed; what came meanwhile is not', async () => {
  const { page, problems } = await visit(browser, server, {});
  await page.goto(`${server.url}?reviewed=false`);
  await cards(page).nth(2).waitFor();
  const boxes = page.getByRole('checkbox', { name: /^Select / });
  await boxes.nth(0).check();
  await boxes.nth(1).check();
  await page.getByText('2 selected').waitFor();
  await page.getByRole('button', { name: 'Mark reviewed' }).click();
  await page.getByText('2 events marked reviewed.').waitFor();
  await page.mouse.move(200, 200);
  const id = await insertOne('Too late to be meant');
  await page.getByRole('button', { name: /^\d+ new$/ }).waitFor();
  await page.getByRole('button', { name: /^Mark all / }).click();
  const sure = page.getByRole('alertdialog', { name: /^Mark [\d,]+ events reviewed\?$/ });
  await sure.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('button', { name: /^Mark all / }).click();
  await sure.getByRole('button', { name: 'Mark reviewed' }).click();
  await page.getByText(/events marked reviewed\./).waitFor();
  await until('all but the newest is reviewed', async () => {
    const { rows } = await server.sql(
      'SELECT id FROM events WHERE NOT reviewed AND camera_id = $1',
      ['porch'],
    );
    return rows.length === 1 && Number((rows[0] as { id: string }).id) === id;
  });
  expect(problems).toEqual([]);
  await leave(page);
});

test('with the keyboard alone: filters, strip, cards, review', async () => {
  const { page, problems } = await visit(browser, server);
  await cards(page).first().waitFor();
  const reached: string[] = [];
  for (let step = 0; step < 40; step++) {
    await page.keyboard.press('Tab');
    reached.push(
      await page.evaluate(() => {
        const element = document.activeElement;
        return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? '';
      }),
    );
  }
  expect(reached[0]).toBe('Skip to the content');
  for (const expected of ['Events', 'Cameras', 'System', 'Filters', 'Go to a time in the list'])
    expect(reached).toContain(expected);
  expect(reached.some((name) => name.startsWith('Select '))).toBe(true);
  expect(reached.some((name) => /at Porch|at demo/.test(name))).toBe(true);
  expect(problems).toEqual([]);
  await leave(page);
});

test('ten tabs share one connection to the live stream, also below a path', async () => {
  const gate = await Gate.open(server, '/cameras/at-home/');
  const context = await browser.newContext();
  const tabs: Page[] = [];
  for (let tab = 0; tab < 10; tab++) {
    const page = await context.newPage();
    await page.goto(gate.url);
    await cards(page).first().waitFor();
    tabs.push(page);
  }
  await expect.poll(() => gate.streams).toBe(1);
  await insertOne('Told to all');
  for (const tab of tabs)
    await tab
      .getByText(/Told to all|^\d+ new$/)
      .first()
      .waitFor();
  expect(gate.streams).toBe(1);
  await context.close();
  await expect.poll(() => gate.streams).toBe(0);
  await gate.close();
});

test('without shared workers, and after the connection was cut, nothing is missed', async () => {
  const gate = await Gate.open(server, '/');
  const context = await browser.newContext();
  await context.addInitScript(() => Reflect.deleteProperty(window, 'SharedWorker'));
  const page = await context.newPage();
  await page.goto(gate.url);
  await cards(page).first().waitFor();
  await expect.poll(() => gate.streams).toBe(1);
  gate.shut();
  await insertOne('While nobody listened');
  gate.letThrough();
  await page
    .getByText(/While nobody listened|^\d+ new$/)
    .first()
    .waitFor();
  await context.close();
  await gate.close();
});

test('the server is started anew: the page goes on by itself', async () => {
  const { page } = await visit(browser, server);
  await cards(page).first().waitFor();
  await server.kill();
  await page.getByText('No connection').waitFor();
  await page.locator('.home-today', { hasText: /as of \d\d:\d\d/ }).waitFor();
  await server.up();
  await page.getByText(/Live ·/).waitFor();
  await insertOne('After the new start');
  await page
    .getByText(/After the new start|^\d+ new$/)
    .first()
    .waitFor();
  expect(await page.getByText('No connection').count()).toBe(0);
  await leave(page);
});

test.each([
  ['light', { colorScheme: 'light' as const }],
  ['dark', { colorScheme: 'dark' as const }],
  ['phone', { viewport: { width: 390, height: 844 } }],
  ['narrow', { viewport: { width: 320, height: 640 } }],
  ['200 %', { viewport: { width: 640, height: 450 }, deviceScaleFactor: 2 }],
])('%s: no accessibility finding, nothing beyond the edge', async (_, options) => {
  const { page, problems } = await visit(browser, server, options);
  await cards(page).first().waitFor();
  expect(await accessibilityFindings(page)).toEqual([]);
  const { scrollWidth, clientWidth } = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return { scrollWidth, clientWidth };
  });
  expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
  expect(problems).toEqual([]);
  await leave(page);
});

test('100,000 events in a month are scrolled from end to end, in bounded memory', async () => {
  await insertEvents(server, 100_000, 29);
  const { page, problems } = await visit(browser, server, {});
  await page.addInitScript(() => {
    const tasks: number[] = [];
    Object.assign(window, { tasks });
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) tasks.push(duration);
    }).observe({ type: 'longtask', buffered: true });
  });
  await page.goto(server.url);
  await cards(page).first().waitFor();
  await page.evaluate(() => ((window as unknown as { tasks: number[] }).tasks.length = 0));
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  expect(height).toBeGreaterThan(1_000_000);
  await page.evaluate(
    () =>
      new Promise<void>((done) => {
        const step = document.documentElement.scrollHeight / 400;
        const scroll = () => {
          const before = scrollY;
          scrollBy(0, step);
          if (scrollY === before) done();
          else requestAnimationFrame(scroll);
        };
        scroll();
      }),
  );
  await page.getByText('Number 100000', { exact: true }).waitFor();
  const tasks = await page.evaluate(() => (window as unknown as { tasks: number[] }).tasks);
  console.info(`long tasks while scrolling 100,000 events: ${JSON.stringify(tasks)}`);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('HeapProfiler.collectGarbage');
  const { usedSize } = await cdp.send('Runtime.getHeapUsage');
  console.info(`JavaScript memory afterwards: ${Math.round(usedSize / 1e6)} MB`);
  expect(usedSize).toBeLessThan(150e6);
  expect(problems).toEqual([]);
  await leave(page);
});

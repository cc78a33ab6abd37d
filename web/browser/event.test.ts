// The page of one event: its pictures with boxes, what the person says to it, and what happens to
// it meanwhile.
import { rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Event as SeenEvent, EventDetail } from '@hsi/client';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { accessibilityFindings, launch, leave, screenshot, visit } from './page.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  server.startDemo();
  await until('an event with several pictures has others around it', async () => {
    const [, ...rest] = await events();
    return rest.slice(0, -2).some(hasSeveral);
  });
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

async function ask<T>(path: string): Promise<T> {
  return (await fetch(`${server.url}api/${path}`)).json() as Promise<T>;
}

async function patch(id: number, body: object): Promise<void> {
  const answer = await fetch(`${server.url}api/events/${id}`, {
    method: 'PATCH',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(answer.status).toBe(200);
}

/** The oldest events, which have others behind them. */
async function events(): Promise<SeenEvent[]> {
  return (await ask<{ events: SeenEvent[] }>('events?order=asc')).events;
}

function hasSeveral({
  detection_count: count,
  started_at: from,
  ended_at: to,
}: SeenEvent): boolean {
  return count > 1 && to !== null && Date.parse(to) > Date.parse(from);
}

/** An event with several pictures and others before and after it. */
async function anEvent(): Promise<EventDetail> {
  const [, ...rest] = await events();
  return ask<EventDetail>(`events/${rest.find(hasSeveral)?.id}`);
}

/** Runs one test on the page of an event, which must have no other problem than those expected. */
async function onEvent(
  id: number,
  run: (page: Page) => Promise<void>,
  { expected = /^$/, ...options }: BrowserContextOptions & { expected?: RegExp } = {},
): Promise<void> {
  const { page, problems } = await visit(browser, server, options);
  await page.goto(`${server.url}events/${id}`);
  await run(page);
  expect(problems.filter((problem) => !expected.test(problem))).toEqual([]);
  await leave(page);
}

const heading = (page: Page) => page.getByRole('heading', { level: 1 });
const place = (page: Page) => page.getByText(/^Picture \d+ of \d+, \d\d:\d\d:\d\d$/);
const large = (page: Page) => page.getByRole('img', { name: /^Picture \d+ of/ });
const boxes = (page: Page) => page.locator('.ev-boxes li');
const isLoaded = (page: Page) =>
  large(page).evaluate((img: HTMLImageElement) => img.complete && img.naturalWidth > 0);

test('a link to an event shows it in words, with its picture and the boxes where they belong', async () => {
  const event = await anEvent();
  await onEvent(event.id, async (page) => {
    await heading(page)
      .getByText(`at ${event.camera_name ?? event.camera_id}, `)
      .waitFor();
    const title = await heading(page).innerText();
    await expect.poll(() => page.title()).toBe(title);
    const time = heading(page).locator('time');
    expect(Date.parse((await time.getAttribute('datetime')) ?? '')).toBe(
      Date.parse(event.started_at),
    );
    expect(await time.getAttribute('title')).toMatch(/\d{4} .*\d\d:\d\d:\d\d .*(Time|GMT|UTC)/);

    await expect.poll(() => isLoaded(page)).toBe(true);
    expect(await large(page).getAttribute('src')).toContain('/api/media/detections/');
    await expect.poll(() => boxes(page).count()).toBeGreaterThan(0);
    const src = (await large(page).getAttribute('src')) ?? '';
    const shown = event.detections.find(({ id }) => src.endsWith(`/${id}`));
    const drawn = await boxes(page).first().boundingBox();
    const frame = await large(page).boundingBox();
    if (shown === undefined || drawn === null || frame === null) throw new Error('nothing drawn');
    const first = event.detections.find(({ file_path: path }) => path === shown.file_path);
    expect(drawn.width / frame.width).toBeCloseTo(
      (first?.bbox_width ?? 0) / (first?.picture_width ?? 1),
      1,
    );
    expect((drawn.x - frame.x) / frame.width).toBeCloseTo(
      (first?.bbox_x ?? 0) / (first?.picture_width ?? 1),
      1,
    );
    for (const text of ['Assessment', 'How it came about', 'Before and after on this camera'])
      await page.getByRole('heading', { name: text }).waitFor();
    await page.getByText('built-in rules').first().waitFor();
  });
});

test('boxes are hidden and shown, by the switch and by its key', async () => {
  const event = await anEvent();
  await onEvent(event.id, async (page) => {
    await expect.poll(() => boxes(page).count()).toBeGreaterThan(0);
    const toggle = page.getByRole('switch', { name: 'Boxes' });
    await toggle.click();
    await expect.poll(() => boxes(page).count()).toBe(0);
    await page.keyboard.press('b');
    await expect.poll(() => boxes(page).count()).toBeGreaterThan(0);
    await page.getByLabel('Note').focus();
    await page.keyboard.press('b');
    expect(await page.getByLabel('Note').inputValue()).toBe('b');
    expect(await toggle.isChecked()).toBe(true);
  });
});

test('all pictures in order: with the arrows, the buttons and the strip, and nothing jumps', async () => {
  const event = await anEvent();
  const files = [...new Set(event.detections.map(({ file_path: path }) => path))];
  expect(files.length).toBeGreaterThan(1);
  await onEvent(event.id, async (page) => {
    await expect.poll(() => isLoaded(page)).toBe(true);
    const next = page.getByRole('button', { name: 'Next' });
    const top = (await next.boundingBox())?.y;
    while (!(await place(page).innerText()).startsWith('Picture 1 of'))
      await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowRight');
    await page.getByText(`Picture 2 of ${files.length}, `).waitFor();
    const previous = page.getByRole('button', { name: 'Previous' });
    await previous.click();
    await page.getByText(`Picture 1 of ${files.length}, `).waitFor();
    expect(await previous.getAttribute('aria-disabled')).toBe('true');
    await page.keyboard.press('Enter');
    await page.getByText(`Picture 1 of ${files.length}, `).waitFor();
    await next.focus();
    await page.keyboard.press('Enter');
    await page.getByText(`Picture 2 of ${files.length}, `).waitFor();
    expect(await next.evaluate((button) => button === document.activeElement)).toBe(true);

    const strip = page.getByRole('list', { name: 'All pictures' }).getByRole('button');
    expect(await strip.count()).toBe(files.length);
    await strip.first().click();
    await page.getByText(`Picture 1 of ${files.length}, `).waitFor();
    await page.keyboard.press('ArrowRight');
    await page.getByText(`Picture 2 of ${files.length}, `).waitFor();
    expect(await strip.nth(1).evaluate((button) => button === document.activeElement)).toBe(true);
    expect((await next.boundingBox())?.y).toBe(top);
  });
});

test('reviewed: shown once the server has it, and also when it was done elsewhere', async () => {
  const event = await anEvent();
  await onEvent(event.id, async (page) => {
    const toggle = page.getByRole('switch', { name: 'Reviewed' });
    await expect.poll(() => toggle.getAttribute('aria-checked')).toBe('false');
    await toggle.click();
    await expect.poll(() => toggle.getAttribute('aria-checked')).toBe('true');
    expect((await ask<SeenEvent>(`events/${event.id}`)).reviewed).toBe(true);
    await patch(event.id, { reviewed: false });
    await expect.poll(() => toggle.getAttribute('aria-checked')).toBe('false');
  });
});

test('a note: saved, kept when that fails, and never lost to somebody else', async () => {
  const event = await anEvent();
  await onEvent(
    event.id,
    async (page) => {
      const note = page.getByLabel('Note');
      const save = page.getByRole('button', { name: 'Save the note' });
      await note.fill('The postman');
      await save.click();
      await page.getByText('Saved.').waitFor();
      expect((await ask<SeenEvent>(`events/${event.id}`)).notes).toBe('The postman');

      await page.route(`**/api/events/${event.id}`, (route) =>
        route.request().method() === 'PATCH'
          ? route.fulfill({ status: 503, json: { detail: 'The database does not answer.' } })
          : route.continue(),
      );
      await note.fill('The postman, twice');
      await save.click();
      await page.getByText('Not saved: The database does not answer.').waitFor();
      expect(await note.inputValue()).toBe('The postman, twice');
      await page.unroute(`**/api/events/${event.id}`);

      await patch(event.id, { notes: 'The neighbour' });
      await page.getByText('The note was changed elsewhere').waitFor();
      expect(await note.inputValue()).toBe('The postman, twice');
      await save.click();
      await page.getByText('Saved.').waitFor();
      expect((await ask<SeenEvent>(`events/${event.id}`)).notes).toBe('The postman, twice');
      await patch(event.id, { notes: null });
      await expect.poll(() => note.inputValue()).toBe('');
    },
    { expected: /status of 503/ },
  );
});

test('before and after on the same camera, and back to the list', async () => {
  const [first, second, third] = await events();
  if (first === undefined || second === undefined || third === undefined)
    throw new Error('too few events');
  await onEvent(second.id, async (page) => {
    const around = page.getByRole('navigation', { name: 'Before and after on this camera' });
    await around.getByRole('link').first().click();
    await page.waitForURL(`${server.url}events/${first.id}`);
    await around.getByText('Nothing before it.').waitFor();
    await around.getByRole('link').last().click();
    await page.waitForURL(`${server.url}events/${second.id}`);
    await page.getByRole('link', { name: 'All events' }).click();
    await page.waitForURL(server.url);
    expect(await page.title()).not.toContain(' at ');
  });
});

test('an original that is gone: the small picture, and why', async () => {
  const last = (await events()).at(-1);
  const event = await ask<EventDetail>(`events/${last?.id}`);
  for (const { file_path: path } of event.detections)
    rmSync(join(server.dataDir, 'cameras', path), { force: true });
  await onEvent(
    event.id,
    async (page) => {
      await page.getByText("The camera's file was deleted").waitFor();
      await expect.poll(() => isLoaded(page)).toBe(true);
      expect(await large(page).getAttribute('src')).toMatch(/\/api\/detections\/\d+\/image$/);
      expect(await boxes(page).count()).toBe(0);
      await page.route('**/api/detections/*/image', (route) =>
        route.fulfill({ status: 410, json: { detail: 'gone' } }),
      );
      await page.reload();
      await page.getByText('No picture: The camera').waitFor();
      await page.unroute('**/api/detections/*/image');
      await page.getByRole('button', { name: 'Try again' }).click();
      await expect.poll(() => isLoaded(page)).toBe(true);
    },
    { expected: /status of 410/ },
  );
});

test('an event that is deleted while it is shown, and one that never was', async () => {
  const last = (await events()).at(-1);
  await onEvent(
    last?.id ?? 0,
    async (page) => {
      await page.getByLabel('Note').fill('half a sen');
      await server.sql('DELETE FROM events WHERE id = $1', [last?.id]);
      await page.getByRole('alert').getByText('This event is gone').waitFor();
      await page.getByText('half a sen').waitFor();
      await page.goto(`${server.url}events/999999`);
      await page.getByText('No event has the number 999999').waitFor();
      expect(await page.title()).toBe('There is no such event');
      await page.getByRole('link', { name: 'All events' }).click();
      await page.waitForURL(server.url);
    },
    { expected: /status of (404|410)/ },
  );
});

test('a server that cannot say: the page says so and asks again', async () => {
  const event = await anEvent();
  const { page, problems } = await visit(browser, server);
  await page.route(`**/api/events/${event.id}`, (route) =>
    route.fulfill({ status: 503, json: { detail: 'The database does not answer.' } }),
  );
  await page.goto(`${server.url}events/${event.id}`);
  await page.getByText('could not be loaded: The database does not answer.').waitFor();
  await page.unroute(`**/api/events/${event.id}`);
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Assessment' }).waitFor();
  expect(problems.filter((problem) => !problem.includes('status of 503'))).toEqual([]);
  await leave(page);
});

const looks: [name: string, options: BrowserContextOptions][] = [
  ['event-light', { colorScheme: 'light' }],
  ['event-dark', { colorScheme: 'dark' }],
  ['event-phone', { colorScheme: 'dark', viewport: { width: 320, height: 700 }, hasTouch: true }],
];

test.each(looks)('%s: nothing is cut off, and axe finds nothing', async (name, options) => {
  const event = await anEvent();
  await onEvent(
    event.id,
    async (page) => {
      await expect.poll(() => isLoaded(page)).toBe(true);
      await page.getByText('From the first picture to the assessment').waitFor();
      await page
        .getByRole('navigation', { name: 'Before and after' })
        .getByRole('link')
        .first()
        .waitFor();
      expect(await accessibilityFindings(page)).toEqual([]);
      const { scrollWidth, clientWidth } = await page.evaluate(() => {
        const { scrollWidth, clientWidth } = document.documentElement;
        return { scrollWidth, clientWidth };
      });
      expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
      await screenshot(
        page,
        name,
        name === 'event-phone' ? { width: 320, height: 1900 } : { width: 1280, height: 1150 },
      );
    },
    options,
  );
});

test('with the keyboard alone: everything can be reached, seen and used', async () => {
  const event = await anEvent();
  await onEvent(event.id, async (page) => {
    await expect.poll(() => isLoaded(page)).toBe(true);
    const reached: string[] = [];
    for (let step = 0; step < 40; step++) {
      await page.keyboard.press('Tab');
      const now = await page.evaluate(() => {
        const element = document.activeElement;
        if (element === null || element === document.body) return undefined;
        const label =
          element instanceof HTMLInputElement ? element.labels?.[0]?.innerText : undefined;
        const { height, width } = element.getBoundingClientRect();
        return {
          name: element.getAttribute('aria-label') ?? label ?? element.textContent?.trim() ?? '',
          id: element.id,
          // Links in the line of a text are as high as the text.
          small: !element.matches('p a, .brand') && (height < 24 || width < 24),
          outlined: getComputedStyle(element).outlineStyle !== 'none',
        };
      });
      if (now === undefined) break;
      expect(now).toMatchObject({ outlined: true, small: false });
      reached.push(now.name || now.id);
    }
    for (const part of ['All events', 'Next', 'Picture ', 'Reviewed', 'event-note'])
      expect(reached.filter((name) => name.includes(part))).not.toEqual([]);
    // One of the strip is in the way, not all of them.
    expect(reached.filter((name) => name.startsWith('Picture '))).toHaveLength(1);
  });
});

// Cameras: the first steps, the strip on the home page, all of them, and one.
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { accessibilityFindings, launch, leave, panel, screenshot, visit } from './page.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([
    Server.start({ CAMERA_OFFLINE_AFTER_SECONDS: '3600' }),
    launch(),
  ]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

/** Runs one test on a page of its own, which must have no other problem than the expected ones. */
async function onPage(
  run: (page: Page) => Promise<void>,
  { expected = /^$/, ...options }: BrowserContextOptions & { expected?: RegExp } = {},
): Promise<void> {
  const { page, problems } = await visit(browser, server, options);
  await run(page);
  expect(problems.filter((problem) => !expected.test(problem))).toEqual([]);
  await leave(page);
}

/** Goes to a page as a link does. */
async function go(page: Page, path: string): Promise<void> {
  await page.evaluate((to) => {
    history.pushState(null, '', to);
    dispatchEvent(new PopStateEvent('popstate', { state: null }));
  }, server.url + path);
}

const cards = (page: Page) => page.locator('.camera-card');
const cardOf = (page: Page, name: string) => cards(page).filter({ hasText: name });

/** Sum of what is painted: 0 while there is nothing, another one for another picture. */
async function painted(place: Locator): Promise<number> {
  const canvas = place.locator('canvas');
  if (!(await canvas.isVisible())) return 0;
  return canvas.evaluate((element: HTMLCanvasElement) => {
    const copy = document.createElement('canvas');
    copy.width = element.width;
    copy.height = element.height;
    const brush = copy.getContext('2d', { willReadFrequently: true });
    brush?.drawImage(element, 0, 0);
    const pixels = brush?.getImageData(0, 0, copy.width, copy.height).data ?? [];
    let sum = 0;
    for (const [index, value] of pixels.entries()) if (index % 4 !== 3) sum += value;
    return sum;
  });
}

async function demoPicture(): Promise<Buffer> {
  let picture: Buffer | undefined;
  await until('the demo has written a picture', () => {
    picture = server.demoPicture();
    return picture !== undefined;
  });
  return picture ?? Buffer.of();
}

test('no camera yet: what to do, and the first picture appears by itself', () =>
  onPage(async (page) => {
    await page.getByRole('heading', { name: 'No camera yet', level: 1 }).waitFor();
    const steps = page.getByRole('main').getByRole('listitem');
    expect(await steps.count()).toBe(3);
    expect(await accessibilityFindings(page)).toEqual([]);
    await screenshot(page, 'cameras-first-steps');
    server.startDemo();
    await expect.poll(() => painted(cardOf(page, 'demo'))).toBeGreaterThan(0);
    expect(await page.getByRole('heading', { name: 'No camera yet' }).count()).toBe(0);
  }));

test('the strip: picture, name, age and status; a newer picture comes by itself, without a gap', () =>
  onPage(
    async (page) => {
      const strip = panel(page, 'Cameras');
      const card = strip.getByRole('link', { name: /^demo .*(ago|just now).* Online$/ });
      await card.waitFor();
      await expect.poll(() => painted(card)).toBeGreaterThan(0);
      const before = await painted(card);
      // Counted frame by frame: from now on there is always a picture.
      await page.evaluate(() => {
        const gaps = { count: 0 };
        Object.assign(window, { gaps });
        const look = () => {
          const canvas = document.querySelector<HTMLCanvasElement>('.camera-strip canvas');
          if (!canvas || canvas.hidden || canvas.width < 2) gaps.count += 1;
          requestAnimationFrame(look);
        };
        look();
      });
      await expect.poll(() => painted(card)).not.toBe(before);
      expect(await page.evaluate(() => (window as unknown as { gaps: object }).gaps)).toEqual({
        count: 0,
      });
      const time = card.locator('time');
      expect(await time.getAttribute('title')).toMatch(/\d{4} at \d\d:\d\d:\d\d \S+/);
      // An answer that is no picture takes none away.
      await page.route('**/snapshot*', (route) => route.fulfill({ status: 503 }));
      await page.waitForResponse((response) => response.status() === 503);
      expect(await painted(card)).toBeGreaterThan(0);
    },
    { expected: /status of 503/ },
  ));

test('adding a camera: what is wrong stands at its field, and then its first steps', () =>
  onPage(
    async (page) => {
      await page.getByRole('link', { name: 'Cameras', exact: true }).click();
      await cardOf(page, 'demo').waitFor();
      expect(await page.title()).toBe('Cameras');
      const form = panel(page, 'Add a camera');
      const name = form.getByLabel('Name');
      const folder = form.getByLabel('Folder');
      const add = form.getByRole('button', { name: 'Add camera' });
      const mistake = page.locator('#add-camera-folder_path-error');
      await add.click();
      await form.getByText('Enter a name.').waitFor();
      expect(await name.evaluate((input) => input === document.activeElement)).toBe(true);
      await name.fill('Front door');
      expect(await folder.inputValue()).toBe('front-door');
      await folder.fill('a/b');
      await add.click();
      await expect.poll(() => mistake.innerText()).toMatch(/^Must be a folder directly below/);
      expect(await folder.getAttribute('aria-invalid')).toBe('true');
      expect(await folder.evaluate((input) => input === document.activeElement)).toBe(true);
      await folder.fill('demo');
      await add.click();
      await expect.poll(() => mistake.innerText()).toMatch(/^A camera of this folder exists/);
      expect(await accessibilityFindings(page)).toEqual([]);
      await folder.fill('front-door');
      await page.keyboard.press('Enter');

      await page.getByRole('heading', { name: 'Front door', level: 1 }).waitFor();
      expect(page.url()).toBe(`${server.url}cameras/front_door`);
      const first = panel(page, 'First steps');
      await first.getByText('front-door', { exact: true }).waitFor();
      expect(await page.locator('.camera-portrait').innerText()).toContain('No picture yet');
      expect(await accessibilityFindings(page)).toEqual([]);
      await screenshot(page, 'camera-first-steps');

      server.upload('front-door', 'one.jpg', await demoPicture());
      await expect.poll(() => painted(page.locator('.camera-portrait'))).toBeGreaterThan(0);
      await first.waitFor({ state: 'detached' });
      await panel(page, 'The last 24 hours').getByText('1 picture came').waitFor();
    },
    { expected: /status of (409|422)/ },
  ));

test('what was left out, and why, in words', () =>
  onPage(async (page) => {
    const picture = await demoPicture();
    await go(page, 'cameras/front_door');
    const arrivals = panel(page, 'The last 24 hours');
    await arrivals.waitFor();
    server.upload('front-door', 'two.jpg', picture);
    server.upload('front-door', 'three.jpg', picture);
    server.upload('front-door', 'notes.jpg', Buffer.from('milk, bread, butter\n'.repeat(100)));
    await arrivals.getByRole('row', { name: /^Not a picture .* 1$/ }).waitFor();
    await arrivals.getByRole('row', { name: /^Sent twice .* \d$/ }).waitFor();
    expect(await arrivals.innerText()).not.toMatch(/not_an_image|duplicate|filtered/);
    expect(await accessibilityFindings(page)).toEqual([]);
  }));

test('renamed with the keyboard alone; every page has the new name', () =>
  onPage(async (page) => {
    await go(page, 'cameras/front_door');
    const rename = page.getByRole('button', { name: 'Rename' });
    await rename.focus();
    await page.keyboard.press('Enter');
    const input = page.getByLabel('Name', { exact: true });
    await expect
      .poll(() => input.evaluate((element) => element === document.activeElement))
      .toBe(true);
    await page.keyboard.press('Escape');
    await expect
      .poll(() => rename.evaluate((element) => element === document.activeElement))
      .toBe(true);
    await page.keyboard.press('Enter');
    await input.waitFor();
    await page.keyboard.type('  ');
    await page.keyboard.press('Enter');
    await page.getByText('Enter a name.').waitFor();
    await page.keyboard.press('Control+A');
    await page.keyboard.type('Garden gate');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Garden gate', level: 1 }).waitFor();
    expect(await page.title()).toBe('Garden gate');
    await page.getByRole('link', { name: 'All cameras' }).click();
    await cardOf(page, 'Garden gate').waitFor();
  }));

test('a camera has its newest events, and a link to all of them', () =>
  onPage(async (page) => {
    await until('an event of the demo', async () => (await server.get('stats')).total_events > 0);
    await cardOf(page, 'demo').click();
    const events = panel(page, 'Newest events');
    const link = events.locator('.camera-event').first();
    await link.waitFor();
    await expect
      .poll(() => link.locator('img').evaluate((image: HTMLImageElement) => image.naturalWidth))
      .toBeGreaterThan(0);
    expect(await link.innerText()).toMatch(/\d\d:\d\d/);
    const all = await events.getByRole('link', { name: 'All events of demo' }).getAttribute('href');
    expect(all).toBe(`${server.url}?camera_id=demo`);
    expect(await page.getByRole('img', { name: 'Newest picture of demo' }).count()).toBe(1);
    expect(await accessibilityFindings(page)).toEqual([]);
    await link.click();
    await expect.poll(() => page.url()).toMatch(/events\/\d+$/);
  }));

test('no such camera', () =>
  onPage(
    async (page) => {
      await go(page, 'cameras/nowhere');
      await page.getByRole('heading', { name: 'No such camera', level: 1 }).waitFor();
      expect(await page.title()).toBe('No such camera');
      await page.getByRole('link', { name: 'See all cameras' }).click();
      await cardOf(page, 'demo').waitFor();
    },
    { expected: /status of 404/ },
  ));

test('the connection is lost: as of when it was, and no age that may be wrong', () =>
  onPage(
    async (page) => {
      const line = cardOf(page, 'demo').locator('.camera-line');
      await expect.poll(() => line.innerText()).toMatch(/ago|just now/);
      await expect.poll(() => painted(cardOf(page, 'demo'))).toBeGreaterThan(0);
      server.freeze();
      try {
        await expect.poll(() => line.innerText()).toMatch(/^\d\d:\d\d, as of \d\d:\d\d/);
        expect(await painted(cardOf(page, 'demo'))).toBeGreaterThan(0);
      } finally {
        server.thaw();
      }
      await expect.poll(() => line.innerText()).toMatch(/ago|just now/);
      // Woken up, the server needs a moment.
    },
    { expected: /status of 503/ },
  ));

const looks: [name: string, options: BrowserContextOptions][] = [
  ['light', {}],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { viewport: { width: 320, height: 700 }, colorScheme: 'dark' }],
];
test.each(looks)('%s: nothing is cut off, and axe finds nothing', (look, options) =>
  onPage(async (page) => {
    const check = async (name: string, part = 'html') => {
      const { right, width } = await page.locator(part).evaluate((element) => ({
        right: element.getBoundingClientRect().left + element.scrollWidth,
        width: document.documentElement.clientWidth,
      }));
      expect(right).toBeLessThanOrEqual(width);
      expect(await accessibilityFindings(page)).toEqual([]);
      await screenshot(page, `${name}-${look}`);
    };
    await expect.poll(() => painted(cardOf(page, 'demo'))).toBeGreaterThan(0);
    await check('home-strip', '.camera-strip');
    await go(page, 'cameras');
    await expect.poll(() => painted(cardOf(page, 'demo'))).toBeGreaterThan(0);
    await check('cameras');
    await cardOf(page, 'demo').click();
    await expect.poll(() => painted(page.locator('.camera-portrait'))).toBeGreaterThan(0);
    await page.locator('.camera-event img').first().waitFor();
    await check('camera');
  }, options),
);

test('the strip goes sideways with the keyboard', () =>
  onPage(
    async (page) => {
      await cardOf(page, 'Garden gate').focus();
      for (let step = 0; step < (await cards(page).count()); step += 1) {
        await expect
          .poll(() =>
            page.evaluate(() => {
              const place = document.activeElement?.getBoundingClientRect();
              return place !== undefined && place.left >= 0 && place.right <= innerWidth;
            }),
          )
          .toBe(true);
        await page.keyboard.press('Shift+Tab');
      }
    },
    { viewport: { width: 320, height: 700 } },
  ));

test('its pictures are gone: the page says so in their place', () =>
  onPage(
    async (page) => {
      const folder = join(server.dataDir, 'cameras', 'front-door');
      for (const name of readdirSync(folder)) rmSync(join(folder, name));
      await go(page, 'cameras/front_door');
      const words = page.locator('.camera-portrait .camera-absence');
      await expect
        .poll(() => words.innerText())
        .toMatch(/^(No picture to show|The newest picture was deleted)$/);
    },
    { expected: /status of (404|410)/ },
  ));

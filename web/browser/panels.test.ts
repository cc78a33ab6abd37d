// Every panel of the page, while real pictures flow through the real program.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { type Visit, launch, leave, panel, visit } from './page.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  server.startDemo();
  await until('an event has come', async () => (await server.get('stats')).total_events > 0);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

/** Runs one test on a page of its own, which must have no other problem than the expected ones. */
async function onPage(run: (page: Page) => Promise<void>, expected = /^$/): Promise<void> {
  const { page, problems }: Visit = await visit(browser, server, {}, 'system');
  await run(page);
  expect(problems.filter((problem) => !expected.test(problem))).toEqual([]);
  await leave(page);
}

test('health: the verdict, each service and each worker with its message', () =>
  onPage(async (page) => {
    await page.getByText('Everything works').first().waitFor();
    const { services, workers } = await server.get('health/ready');
    const health = panel(page, 'Health');
    const rows = health.getByRole('listitem');
    await expect.poll(() => rows.count()).toBe(Object.keys(services).length + workers.length);
    for (const service of Object.values<{ message: string }>(services))
      await health.getByText(service.message).first().waitFor();
    expect(await health.getByText('Healthy', { exact: true }).count()).toBe(
      Object.keys(services).length,
    );
    expect(await health.getByText('Running', { exact: true }).count()).toBe(workers.length);
    const totals = page.getByRole('region', { name: 'Overall' });
    await expect.poll(() => totals.innerText()).toMatch(/Events\s+[1-9]/);
  }));

test('pipeline: the steps in their order, what waits, and percentiles with their sample counts', () =>
  onPage(async (page) => {
    const pipeline = panel(page, 'Pipeline');
    const steps = pipeline
      .getByRole('list', { name: 'The way of a picture' })
      .getByRole('listitem');
    await expect.poll(() => steps.count()).toBe(8);
    const order = [
      /Cameras/,
      /Watch/,
      /detection/,
      /Detect/,
      /Batch/,
      /analysis/,
      /Analyze/,
      /Events/,
    ];
    const texts = await steps.allInnerTexts();
    order.forEach((name, index) => expect(texts[index]).toMatch(name));

    const total = pipeline.getByRole('row', { name: /^Total/ });
    await expect
      .poll(() => total.innerText())
      .toMatch(/Total[\s\S]*(\d[\d.,]* (ms|s|min)[\s\d]*){3}\s[1-9]\d*$/);
    const detect = pipeline.getByRole('row', { name: /^Detect The/ });
    expect(await detect.innerText()).toMatch(/[1-9]\d*$/);

    const asked = page.waitForRequest((request) => request.url().endsWith('window_minutes=5'));
    await pipeline.getByText('5 min', { exact: true }).click();
    await asked;
    await pipeline.getByRole('table', { name: 'over the last 5 minutes' }).waitFor();
  }));

test('the page follows by itself: new events come without a reload', () =>
  onPage(async (page) => {
    const events = page.locator('.totals > div', { hasText: 'Events' }).locator('dd');
    const before = Number(await events.innerText());
    await expect.poll(async () => Number(await events.innerText())).toBeGreaterThan(before);
  }));

test('severity: the names, ranges and colours of the API', () =>
  onPage(async (page) => {
    const { definitions } = await server.get('severity');
    const severity = panel(page, 'Severity');
    for (const level of definitions) {
      const row = severity.getByRole('listitem').filter({ hasText: level.label });
      await row.waitFor();
      expect(await row.innerText()).toContain(`${level.min_score}–${level.max_score}`);
      expect(await row.innerText()).toContain(level.description);
      const colour = await row
        .locator('.swatch')
        .evaluate((swatch) => getComputedStyle(swatch).backgroundColor);
      const [, red = '', green = '', blue = ''] = /^#(..)(..)(..)$/.exec(level.color) ?? [];
      expect(colour).toBe(
        `rgb(${[red, green, blue].map((part) => Number.parseInt(part, 16)).join(', ')})`,
      );
    }
  }));

test('storage and cleanup: preview, confirmation, result', async () => {
  await server.sql(
    `INSERT INTO gpu_stats (recorded_at, gpu_name) SELECT now() - interval '40 days' - n * interval '1 second', 'old' FROM generate_series(1, 50) n`,
  );
  await server.sql(
    `INSERT INTO logs (timestamp, level, component, message) SELECT now() - interval '40 days', 'WARNING', 'old', 'old' FROM generate_series(1, 7)`,
  );
  const old = async () =>
    Number(
      (await server.sql(`SELECT count(*) FROM gpu_stats WHERE gpu_name = 'old'`)).rows[0].count,
    );
  await onPage(async (page) => {
    const storage = panel(page, 'Storage and retention');
    await storage
      .getByText(/ free$/)
      .first()
      .waitFor();
    await expect
      .poll(() => storage.innerText())
      .toMatch(/Camera pictures\s+[1-9]\d*\s+[\d.]+ [kM]B/);

    await storage.getByRole('button', { name: 'Preview cleanup' }).click();
    await storage.getByText('Would be deleted (older than 30 days):').first().waitFor();
    expect(await storage.getByRole('status').innerText()).toMatch(
      /GPU readings\s+50\s+log entries\s+7/,
    );
    expect(await old()).toBe(50);

    await storage.getByRole('button', { name: 'Delete these…' }).click();
    const dialog = page.getByRole('alertdialog', { name: 'Delete for good?' });
    await dialog
      .getByText('50 GPU readings, 7 log entries older than 30 days will be deleted.')
      .first()
      .waitFor();
    await dialog.getByRole('button', { name: 'Keep everything' }).click();
    await dialog.waitFor({ state: 'hidden' });
    expect(await old()).toBe(50);

    await storage.getByRole('button', { name: 'Delete these…' }).click();
    await dialog.getByRole('button', { name: 'Delete for good' }).click();
    await storage.getByText('Deleted (older than 30 days):').first().waitFor();
    expect(await old()).toBe(0);
    await storage.getByRole('button', { name: 'Preview cleanup' }).click();
    await storage.getByText('Nothing is older than 30 days.').first().waitFor();
    expect(await storage.getByRole('button', { name: 'Delete these…' }).count()).toBe(0);
  });
});

test('configuration: a change is saved, shown and in force', () =>
  onPage(async (page) => {
    const settings = panel(page, 'Configuration');
    const days = settings.getByLabel('Keep data for');
    await days.fill('21');
    await settings.getByText('now 30').first().waitFor();
    await settings.getByRole('button', { name: 'Save changes' }).click();
    await settings.getByText('Saved.').first().waitFor();
    expect((await server.get('config')).retention_days).toBe(21);
    expect(await days.inputValue()).toBe('21');
    await panel(page, 'Storage and retention').getByText('older than 21 days').first().waitFor();
  }));

test('configuration: what cannot be right is not sent', () =>
  onPage(async (page) => {
    const settings = panel(page, 'Configuration');
    const sent: string[] = [];
    page.on('request', (request) => request.method() === 'PATCH' && sent.push(request.url()));
    await settings.getByLabel('Keep data for').fill('400');
    await settings.getByLabel('Least confidence of a detection').fill('high');
    await settings.getByRole('button', { name: 'Save changes' }).click();
    await settings.getByText('Enter 1 to 365.').first().waitFor();
    await settings.getByText('This is not a number. Enter 0 to 1.').first().waitFor();
    expect(sent).toEqual([]);
    expect(await settings.getByLabel('Keep data for').getAttribute('aria-invalid')).toBe('true');
    await settings.getByRole('button', { name: 'Undo' }).click();
    expect(await settings.getByText('Enter 1 to 365.').count()).toBe(0);
  }));

test('configuration: the server’s refusal stands beside its field', () =>
  onPage(async (page) => {
    // The page lets no wrong value through: one is put into the request on its way, and the real
    // server refuses it.
    await page.route('**/api/system/config', (route) =>
      route.request().method() === 'PATCH'
        ? route.continue({ postData: JSON.stringify({ batch_window_seconds: 0 }) })
        : route.continue(),
    );
    const before = await server.get('config');
    const settings = panel(page, 'Configuration');
    const seconds = settings.getByLabel('Collect a batch for at most');
    await seconds.fill('45');
    await settings.getByRole('button', { name: 'Save changes' }).click();
    await settings.getByText('The server refused this. Nothing was saved.').first().waitFor();
    expect(await seconds.getAttribute('aria-invalid')).toBe('true');
    expect(await page.locator('#batch_window_seconds-error').innerText()).toBe(
      'number must be at least 1',
    );
    expect(await seconds.evaluate((input) => input === document.activeElement)).toBe(true);
    expect(await seconds.inputValue()).toBe('45');
    expect(await server.get('config')).toEqual(before);
  }, /status of 422/));

test('given up: a broken picture is listed with its cause, and can be tried again', () =>
  onPage(async (page) => {
    server.upload('garage', 'broken.jpg', spoiled(server.demoPicture()));
    const givenUp = panel(page, 'Given up');
    const row = givenUp.getByRole('listitem').filter({ hasText: 'broken.jpg' });
    await row.waitFor();
    const [letter] = (await server.get('dead-letters')).dead_letters;
    expect(await row.innerText()).toContain(letter.cause);
    await page.getByRole('link', { name: '1 picture could not be processed' }).waitFor();
    await givenUp.getByRole('button', { name: 'Try broken.jpg of garage again' }).click();
    await givenUp.getByText('1 picture will be tried again.').first().waitFor();
  }));

/**
 * A JPEG that is right at both ends; what lies between is no code of its own tables, as only the
 * detector finds out.
 */
function spoiled(picture: Buffer | undefined): Buffer {
  const startOfScan = picture?.indexOf(Buffer.from([0xff, 0xda])) ?? -1;
  if (picture === undefined || startOfScan < 0) throw new Error('the demo has written no JPEG');
  const broken = Buffer.from(picture);
  broken.fill(Buffer.from([0xff, 0x00]), startOfScan + 16, broken.length - 2);
  return broken;
}

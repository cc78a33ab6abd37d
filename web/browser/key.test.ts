// A server that wants an API key for changes, and whose AI service does not answer.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { accessibilityFindings, launch, panel, visit } from './page.ts';
import { Server } from './server.ts';

const key = 'correct-horse-battery';
let server: Server;
let browser: Browser;
let page: Page;
let problems: string[];

beforeAll(async () => {
  const env = { API_KEY_ENABLED: 'true', API_KEYS: key, RTDETR_URL: 'http://127.0.0.1:9' };
  [server, browser] = await Promise.all([Server.start(env), launch()]);
  ({ page, problems } = await visit(browser, server));
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

const dialog = () => page.getByRole('dialog', { name: 'This change needs an API key' });

test('one service that fails: working, with a problem, and what to do', async () => {
  await page.getByText('Working, with a problem').first().waitFor();
  const ai = panel(page, 'Health').getByRole('listitem').filter({ hasText: 'AI services' });
  expect(await ai.innerText()).toMatch(
    /RT-DETR service unavailable, Nemotron operational[\s\S]*Check that RT-DETR can be reached/,
  );
  expect(await page.getByText('Everything works').count()).toBe(0);
  expect(await accessibilityFindings(page)).toEqual([]);
});

test('no key is asked for reading', async () => {
  await panel(page, 'Given up')
    .getByText('None. Every picture could be processed.')
    .first()
    .waitFor();
  expect(await dialog().isVisible()).toBe(false);
});

test('the key is asked for when a change needs it, again when it is wrong, and then no more', async () => {
  const storage = panel(page, 'Storage and retention');
  await storage.getByRole('button', { name: 'Preview cleanup' }).click();
  await dialog().getByText('API key required.').first().waitFor();
  expect(await accessibilityFindings(page)).toEqual([]);
  await dialog().getByLabel('API key').fill('wrong-horse-battery');
  await page.keyboard.press('Enter');
  await dialog().getByText('Invalid API key').first().waitFor();
  await dialog().getByLabel('API key').fill(key);
  await dialog().getByRole('button', { name: 'Use this key' }).click();
  await storage.getByText('Nothing is older than 30 days.').first().waitFor();

  const settings = panel(page, 'Configuration');
  await settings.getByLabel('Keep data for').fill('14');
  await settings.getByRole('button', { name: 'Save changes' }).click();
  await settings.getByText('Saved.').first().waitFor();
  expect((await server.get('config')).retention_days).toBe(14);
});

test('the key is in memory only', async () => {
  const kept = await page.evaluate(
    () =>
      JSON.stringify({ ...localStorage, ...sessionStorage }) +
      document.cookie +
      document.documentElement.outerHTML,
  );
  expect(kept).not.toContain(key);
});

test('the key goes with changes only', async () => {
  const withKey = new Set<string>();
  page.on(
    'request',
    (request) => request.headers()['x-api-key'] !== undefined && withKey.add(request.method()),
  );
  await panel(page, 'Storage and retention')
    .getByRole('button', { name: 'Preview cleanup' })
    .click();
  await expect.poll(() => [...withKey]).toEqual(['POST']);
  await page.waitForResponse((response) => response.url().endsWith('/config'));
  expect([...withKey]).toEqual(['POST']);
});

test('a key that is forgotten is asked for again; without one nothing is changed', async () => {
  await page.getByRole('button', { name: 'Forget it' }).click();
  const settings = panel(page, 'Configuration');
  await settings.getByLabel('Keep data for').fill('15');
  await settings.getByRole('button', { name: 'Save changes' }).click();
  await dialog().waitFor();
  await page.keyboard.press('Escape');
  await settings.getByText('Nothing was changed: no API key was given.').first().waitFor();
  expect(await settings.getByLabel('Keep data for').inputValue()).toBe('15');
  expect((await server.get('config')).retention_days).toBe(14);
  await page.reload();
  await panel(page, 'Storage and retention')
    .getByRole('button', { name: 'Preview cleanup' })
    .click();
  await dialog().waitFor();
});

test('no problem beside the refusals and the health check that says degraded', () => {
  expect(problems.filter((problem) => !/status of (401|503)/.test(problem))).toEqual([]);
});

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
  ({ page, problems } = await visit(browser, server, {}, 'system'));
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
  await dialog().getByRole('button', { name: 'Sign in' }).click();
  await storage.getByText('Nothing is older than 30 days.').first().waitFor();

  const settings = panel(page, 'Configuration');
  await settings.getByLabel('Keep data for').fill('14');
  await settings.getByRole('button', { name: 'Save changes' }).click();
  await settings.getByText('Saved.').first().waitFor();
  expect((await server.get('config')).retention_days).toBe(14);
});

test('the key is nowhere that a script can read, and goes once, for the session', async () => {
  const kept = await page.evaluate(
    () =>
      JSON.stringify({ ...localStorage, ...sessionStorage }) +
      document.cookie +
      document.documentElement.outerHTML,
  );
  expect(kept).not.toContain(key);
  const withKey: string[] = [];
  page.on(
    'request',
    (request) => request.headers()['x-api-key'] !== undefined && withKey.push(request.url()),
  );
  const storage = panel(page, 'Storage and retention');
  await storage.getByRole('button', { name: 'Preview cleanup' }).click();
  await storage.getByText('Nothing is older than 14 days.').first().waitFor();
  expect(withKey).toEqual([]);
});

test('what the cameras saw is shown with the session, also after a reload; signed out, not', async () => {
  await page.goto(server.url);
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.reload();
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to see what your cameras saw' }).waitFor();
  expect(await accessibilityFindings(page)).toEqual([]);
  await page.reload();
  const form = page.getByRole('region', { name: 'Sign in to see what your cameras saw' });
  await form.getByLabel('API key').fill('wrong-horse-battery');
  await page.keyboard.press('Enter');
  await form.getByText('Invalid API key').waitFor();
  await form.getByLabel('API key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await form.waitFor({ state: 'hidden' });
});

test('a session that ends elsewhere: one signs in again where one was', async () => {
  await page.goto(`${server.url}cameras`);
  await page.getByRole('heading', { level: 1, name: 'Cameras' }).waitFor();
  await server.sql('DELETE FROM sessions');
  await page.getByRole('heading', { name: 'Sign in to see what your cameras saw' }).waitFor();
  await page.getByLabel('API key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Cameras' }).waitFor();
  expect(page.url()).toBe(`${server.url}cameras`);
});

test('signed out, a change asks for the key again; without one nothing is changed', async () => {
  await page.goto(`${server.url}system`);
  await page.getByRole('button', { name: 'Sign out' }).click();
  const settings = panel(page, 'Configuration');
  await settings.getByLabel('Keep data for').fill('15');
  await settings.getByRole('button', { name: 'Save changes' }).click();
  await dialog().waitFor();
  await page.keyboard.press('Escape');
  await settings.getByText('Nothing was changed: no API key was given.').first().waitFor();
  expect(await settings.getByLabel('Keep data for').inputValue()).toBe('15');
  expect((await server.get('config')).retention_days).toBe(14);
});

test('no problem beside the refusals and the health check that says degraded', () => {
  expect(problems.filter((problem) => !/status of (401|503)/.test(problem))).toEqual([]);
});

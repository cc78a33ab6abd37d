// Keyboard, screen readers, small and large screens, light and dark; weight of the page.
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { accessibilityFindings, launch, leave, panel, screenshot, visit } from './page.ts';
import { insertGPUHistory, showGPU } from './gpu-data.ts';
import { Server, until } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
  server.startDemo();
  await insertGPUHistory(server);
  await until('events have come', async () => (await server.get('stats')).total_events > 1);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

/** The page with everything on it, the charts included. */
async function whole(page: Page): Promise<void> {
  await showGPU(page);
  await page.reload();
  await page.getByText('Everything works').first().waitFor();
  await panel(page, 'GPU').getByText('72.4 %').first().waitFor(); // the table has it too
  await expect.poll(() => page.locator('canvas').count()).toBe(5);
  await panel(page, 'Given up').getByText(/None/).first().waitFor();
  await panel(page, 'Severity').getByText('Critical').first().waitFor();
}

/** Where a panel ends, so that a picture of the page can end there too. */
async function endOf(page: Page, title: string): Promise<number> {
  const box = await panel(page, title).boundingBox();
  return Math.round(
    (box?.y ?? 0) + (box?.height ?? 900) + 24 + (await page.evaluate(() => window.scrollY)),
  );
}

describe.each([
  ['light', { colorScheme: 'light' as const }],
  ['dark', { colorScheme: 'dark' as const }],
  ['phone', { viewport: { width: 390, height: 844 } }],
  ['narrow', { viewport: { width: 320, height: 640 } }],
  ['wide', { viewport: { width: 2560, height: 1300 } }],
  ['high contrast', { forcedColors: 'active' as const }],
])('%s', (name, options) => {
  test('no accessibility finding, nothing beyond the edge, no problem', async () => {
    const { page, problems } = await visit(browser, server, options, 'system');
    await whole(page);
    expect(await accessibilityFindings(page)).toEqual([]);
    const { scrollWidth, clientWidth } = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      return { scrollWidth, clientWidth };
    });
    expect(scrollWidth).toBeLessThanOrEqual(clientWidth);
    if (name === 'light' || name === 'dark')
      await screenshot(page, name, { width: 1280, height: await endOf(page, 'GPU') });
    if (name === 'phone') await screenshot(page, name, { width: 390, height: 2200 });
    expect(problems).toEqual([]);
    await leave(page);
  });
});

test('with the keyboard alone: everything can be reached, seen and used', async () => {
  const { page, problems } = await visit(browser, server, {}, 'system');
  await whole(page);
  await page.keyboard.press('Tab');
  expect(await focused(page)).toMatchObject({ name: 'Skip to the content', visible: true });
  const reached: string[] = [];
  for (let step = 0; step < 80; step++) {
    await page.keyboard.press('Tab');
    const now = await focused(page);
    if (now === undefined) break;
    expect(now).toMatchObject({ visible: true, outlined: true });
    reached.push(now.name);
  }
  for (const expected of [
    'Health',
    '1 h',
    'The charts as a table',
    'Preview cleanup',
    'Keep data for, in days',
    'Save changes',
    'API documentation',
  ])
    expect(reached).toContain(expected);

  await page.locator('input[name=window]:checked').focus();
  await page.keyboard.press('ArrowRight');
  await panel(page, 'Pipeline').getByRole('table', { name: 'over the last 360 minutes' }).waitFor();

  await page.getByText('The charts as a table').focus();
  await page.keyboard.press('Enter');
  await panel(page, 'GPU').getByRole('table').waitFor();

  await server.sql(
    `INSERT INTO gpu_stats (recorded_at, gpu_name) VALUES (now() - interval '40 days', 'old')`,
  );
  await page.getByRole('button', { name: 'Preview cleanup' }).focus();
  await page.keyboard.press('Enter');
  const go = page.getByRole('button', { name: 'Delete these…' });
  await go.waitFor();
  await page.keyboard.press('Tab');
  expect(await focused(page)).toMatchObject({ name: 'Delete these…' });
  await page.keyboard.press('Enter');
  await page.getByRole('alertdialog').waitFor();
  await expect.poll(() => focused(page)).toMatchObject({ name: 'Keep everything' }); // the safe answer first
  await page.keyboard.press('Escape');
  await page.getByRole('alertdialog').waitFor({ state: 'hidden' });
  await expect.poll(() => focused(page)).toMatchObject({ name: 'Delete these…' }); // back where it was

  await page.getByLabel('Close a quiet batch after').focus();
  await page.keyboard.press('Control+A');
  await page.keyboard.type('4');
  await page.keyboard.press('Enter');
  await panel(page, 'Configuration').getByText('Saved.').first().waitFor();
  expect((await server.get('config')).batch_idle_timeout_seconds).toBe(4);
  expect(problems).toEqual([]);
  await leave(page);
});

/**
 * What has the focus: its name, whether it can be seen, whether its focus can be seen. Undefined at
 * the end of the page.
 */
function focused(page: Page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    if (element === null || element === document.body) return undefined;
    const label = element instanceof HTMLInputElement ? element.labels?.[0] : undefined;
    const marked = element.matches('input[type=radio]')
      ? (element.closest('label') ?? element)
      : element;
    const { top, bottom, left, width } = marked.getBoundingClientRect();
    const hit = document.elementFromPoint(
      left + width / 2,
      (Math.max(0, top) + Math.min(innerHeight, bottom)) / 2,
    );
    return {
      name: (label ?? element).textContent?.trim() ?? '',
      visible: hit !== null && (marked.contains(hit) || hit.contains(marked)),
      outlined:
        getComputedStyle(marked).outlineStyle !== 'none' &&
        Number.parseFloat(getComputedStyle(marked).outlineWidth) >= 2,
    };
  });
}

test('what changes is announced, and only then', async () => {
  const { page } = await visit(browser, server, {}, 'system');
  await whole(page);
  await page.evaluate(() => {
    const changes: string[] = [];
    Object.assign(window, { announced: changes });
    const watch = new MutationObserver((records) => {
      const texts = records.map(({ target }) => (target.parentElement ?? target).textContent ?? '');
      changes.push(...texts.filter((text) => text !== '')); // what is cleared is not announced
    });
    for (const region of document.querySelectorAll('[role=status], [aria-live]'))
      watch.observe(region, { subtree: true, childList: true, characterData: true });
  });
  for (let answers = 0; answers < 4; answers++) await page.waitForResponse(/health\/ready/);
  expect(
    await page.evaluate(() => (window as unknown as { announced: string[] }).announced),
  ).toEqual([]);
  await leave(page);
});

test('the policy of the page: no inline script or style, no other host, no text that becomes markup', async () => {
  const { page } = await visit(browser, server, {}, 'system');
  await page.getByText('Everything works').first().waitFor();
  await page.evaluate(async () => {
    const violations: string[] = [];
    Object.assign(window, { violations });
    document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) =>
      violations.push(effectiveDirective),
    );
    const add = (tag: string, text: string) =>
      document.head.append(Object.assign(document.createElement(tag), { textContent: text }));
    add('style', 'body { display: none }');
    try {
      add('script', 'window.inlineRan = true');
    } catch {
      violations.push('script text refused');
    }
    try {
      document.body.innerHTML = '<p>x</p>';
    } catch {
      violations.push('markup refused');
    }
    await fetch('http://127.0.0.1:9/').catch(() => violations.push('fetch refused'));
    document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/x.png' }));
  });
  const expected = [
    'style-src-elem',
    'require-trusted-types-for',
    'markup refused',
    'connect-src',
    'fetch refused',
    'img-src',
  ];
  await expect
    .poll(() => page.evaluate(() => (window as unknown as { violations: string[] }).violations))
    .toEqual(expect.arrayContaining(expected));
  const seen = await page.evaluate(() => ({
    inlineRan: 'inlineRan' in window,
    shown: getComputedStyle(document.body).display !== 'none',
  }));
  expect(seen).toEqual({ inlineRan: false, shown: true });
  await leave(page);
});

test('weight: the JavaScript that is loaded first is at most 80 kB as sent', async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const sizes = new Map<string, number>();
  page.on('response', async (response) => {
    if (response.request().resourceType() !== 'script') return;
    const { responseBodySize } = await response.request().sizes();
    sizes.set(new URL(response.url()).pathname, responseBodySize);
  });
  await page.goto(`${server.url}system`);
  await page.getByText('Everything works').first().waitFor();
  await page.waitForLoadState('networkidle').catch(() => undefined);
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  console.info(
    `JavaScript as sent, the charts included: ${total} bytes ${JSON.stringify([...sizes])}`,
  );
  expect(sizes.size).toBeGreaterThan(0);
  expect(total).toBeLessThanOrEqual(80_000);
  await context.close();
});

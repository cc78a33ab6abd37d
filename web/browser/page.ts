// A browser page that notices everything that a page must not do.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';

import AxeBuilder from 'axe-core';
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core';

import { type Server, patienceMs } from './server.ts';

/** The Chromium that scripts/browser.sh finds or fetches. */
export function launch(more: string[] = []): Promise<Browser> {
  const executablePath = execFileSync(resolve(import.meta.dirname, '../../scripts/browser.sh'), {
    encoding: 'utf8',
  }).trim();
  return chromium.launch({
    executablePath,
    args: ['--no-sandbox', '--disable-dev-shm-usage', ...more],
  });
}

export interface Visit {
  page: Page;
  /** Console errors, uncaught errors, broken policies and requests to other hosts. */
  problems: string[];
}

/** Opens a page of the dashboard: its home, or what lies at a path below it. */
export async function visit(
  browser: Browser,
  server: Server,
  options: BrowserContextOptions = {},
  path = '',
): Promise<Visit> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    reducedMotion: 'reduce',
    ...options,
  });
  context.setDefaultTimeout(patienceMs);
  const page = await context.newPage();
  const problems: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      problems.push(`console: ${message.text()} ${message.location().url}`);
  });
  page.on('pageerror', (error) => problems.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(server.url)) problems.push(`another host: ${request.url()}`);
  });
  await page.goto(server.url + path);
  return { page, problems };
}

/**
 * Closes a page. What is put in on the way of a request that is under way then is let go: nobody
 * waits for it.
 */
export async function leave(page: Page): Promise<void> {
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().close();
}

/**
 * What axe-core finds wrong, of any severity from serious on, by the rules of WCAG 2.2 AA and its
 * own best practices.
 */
export async function accessibilityFindings(page: Page): Promise<string[]> {
  await page.evaluate(AxeBuilder.source);
  const results = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: typeof AxeBuilder };
    return axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
  });
  return results.violations.flatMap(({ id, impact, nodes }) =>
    nodes.map((node) => `${impact} ${id}: ${node.html} ${node.failureSummary ?? ''}`),
  );
}

/** The panel with this title. */
export function panel(page: Page, title: string) {
  return page.getByRole('region', { name: title, exact: true });
}

const screenshots = resolve(import.meta.dirname, '../../docs/screenshots');

/**
 * Keeps a picture of the page under docs/screenshots, only when HSI_SCREENSHOTS is set: a test run
 * leaves the tree clean.
 */
export async function screenshot(
  page: Page,
  name: string,
  size?: { width: number; height: number },
): Promise<void> {
  if (!process.env['HSI_SCREENSHOTS']) return;
  mkdirSync(screenshots, { recursive: true });
  if (size !== undefined) await page.setViewportSize(size);
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.mouse.move(0, 0);
  await page.screenshot({ path: resolve(screenshots, `${name}.png`), animations: 'disabled' });
}

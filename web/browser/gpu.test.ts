import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { insertGPUHistory, showGPU } from './gpu-data.ts';
import { launch, leave, panel, visit } from './page.ts';
import { Server } from './server.ts';

let server: Server;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([Server.start(), launch()]);
});
afterAll(async () => {
  await browser?.close();
  await server?.stop();
});

test('without a GPU the page says so plainly, and why', async () => {
  const { page, problems } = await visit(browser, server, {}, 'system');
  const gpu = panel(page, 'GPU');
  await gpu.getByText('No GPU is being read.').first().waitFor();
  await expect.poll(() => gpu.innerText()).toMatch(/The GPU monitor says: .+/);
  expect(await gpu.locator('canvas').count()).toBe(0);
  expect(problems).toEqual([]);
  await leave(page);
});

test('current values, and the course of each with its gaps', async () => {
  await insertGPUHistory(server);
  const { page, problems } = await visit(browser, server, {}, 'system');
  await showGPU(page);
  await page.reload();
  const gpu = panel(page, 'GPU');
  await gpu.getByText('72.4 %').first().waitFor();
  await gpu.getByText('11.8 GiB of 24 GiB').first().waitFor();
  await gpu.getByText('61 °C').first().waitFor();
  await gpu.getByText('187 W').first().waitFor();
  const fps = gpu.getByRole('region', { name: 'Pictures through the detector' });
  expect(await fps.locator('.tile-value').innerText()).toBe('–');

  await expect.poll(() => gpu.locator('canvas').count()).toBe(5);
  const chart = gpu.getByRole('img', {
    name: /^Utilization over the last 1 h: between .+ % and .+ %, on average .+ %, last .+ %\.$/,
  });
  await chart.waitFor();
  await chart.scrollIntoViewIfNeeded();
  // Where readings are missing nothing is drawn: a third of the way from the right edge the picture
  // is empty from top to bottom.
  const inked = await chart.locator('canvas').evaluate((canvas: HTMLCanvasElement) => {
    const { width, height } = canvas;
    const plot = { left: 62 * devicePixelRatio, right: width - 18 * devicePixelRatio };
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('no drawing');
    const pixels = context.getImageData(0, 0, width, height - 30 * devicePixelRatio);
    const series = (x: number) => {
      let count = 0;
      for (let y = 0; y < pixels.height; y++) {
        const at = 4 * (y * width + Math.round(x));
        const [red = 0, , blue = 0] = [pixels.data[at], pixels.data[at + 1], pixels.data[at + 2]];
        if (blue - red > 10) count++;
      }
      return count;
    };
    const at = (secondsAgo: number) =>
      series(plot.left + (1 - secondsAgo / 3600) * (plot.right - plot.left));
    return { before: at(2400), gap: [at(2000), at(1800), at(1600)], after: at(1200) };
  });
  expect(inked.before).toBeGreaterThan(5);
  expect(inked.after).toBeGreaterThan(5);
  expect(inked.gap).toEqual([0, 0, 0]);

  await chart.hover({ position: { x: 300, y: 60 } });
  await expect
    .poll(() => gpu.locator('.chart-cursor').first().innerText())
    .toMatch(/^\d\d:\d\d:\d\d {2}[\d.]+ %$/);

  await gpu.getByText('The charts as a table').click();
  const rows = gpu.getByRole('table').getByRole('row');
  expect(await rows.count()).toBe(13);
  expect(await rows.allInnerTexts()).toContainEqual(
    expect.stringMatching(/^\d\d:\d\d:\d\d(\s+–){5}$/),
  );

  await page.mouse.move(0, 0);
  await gpu.getByText('The charts as a table').click();
  await gpu.getByText('15 min').click();
  await gpu.getByRole('img', { name: /^Utilization over the last 15 min/ }).waitFor();
  await expect
    .poll(() => gpu.getByRole('img').first().getAttribute('aria-label'))
    .toContain('last 15 min');
  expect(problems).toEqual([]);
  await leave(page);
});

test('a reading that is gone: the page says when the last one was and keeps the course', async () => {
  const { page, problems } = await visit(browser, server, {}, 'system');
  const gpu = panel(page, 'GPU');
  await gpu.getByText('No GPU is being read.').first().waitFor();
  await gpu
    .getByText(/The last reading is from/)
    .first()
    .waitFor();
  await expect.poll(() => gpu.locator('canvas').count()).toBe(5);
  expect(problems).toEqual([]);
  await leave(page);
});

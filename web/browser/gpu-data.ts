import type { Page } from 'playwright-core';

import type { Server } from './server.ts';

/**
 * Readings each 5 s over the last hour, with a gap of ten minutes and one minute without a power
 * reading.
 */
export async function insertGPUHistory(server: Server): Promise<void> {
  await server.sql(`
    INSERT INTO gpu_stats (recorded_at, gpu_name, gpu_utilization, memory_used, memory_total, temperature, power_usage, inference_fps)
    SELECT now() - age * interval '1 second', 'NVIDIA RTX A5500',
      55 + 30 * sin(age / 240.0) + 8 * sin(age / 17.0), 11000 + 3000 * sin(age / 900.0), 24564,
      58 + 9 * sin(age / 300.0 + 0.4), CASE WHEN age BETWEEN 600 AND 660 THEN NULL ELSE 140 + 60 * sin(age / 240.0) + 9 * sin(age / 11.0) END,
      greatest(0, 6 + 5 * sin(age / 200.0))
    FROM generate_series(0, 3600, 5) AS age WHERE age NOT BETWEEN 1500 AND 2100`);
}

/**
 * Machines that test have no GPU: its current reading is put in on the way. The course over time
 * stays the server's own answer.
 */
export async function showGPU(page: Page): Promise<void> {
  const json = {
    gpu_name: 'NVIDIA RTX A5500',
    utilization: 72.4,
    memory_used: 12_034,
    memory_total: 24_564,
    temperature: 61,
    power_usage: 187.2,
    inference_fps: null,
  };
  await page.route('**/api/system/gpu', (route) => route.fulfill({ json }));
  // … and so is the word of the GPU monitor, which would say that there is none.
  await page.route('**/api/system/health/ready', async (route) => {
    const response = await route.fetch();
    const body = (await response.json()) as { workers: { name: string; message: string | null }[] };
    for (const worker of body.workers) if (worker.name === 'gpu_monitor') worker.message = null;
    await route.fulfill({ response, json: body });
  });
}

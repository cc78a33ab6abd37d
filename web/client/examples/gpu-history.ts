// Prints the GPU samples of the last hour. What the driver did not say is null, never 0.
import { createClient, listGPUHistory, unwrap } from '@hsi/client';

const client = createClient({ baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000' });

const since = new Date(Date.now() - 3_600_000).toISOString();
const { samples } = unwrap(await listGPUHistory(client, { query: { since, limit: 720 } }));
for (const { recorded_at, gpu_name, utilization } of samples) {
  console.log(
    recorded_at,
    gpu_name ?? 'no GPU',
    utilization === null ? 'unknown' : `${utilization} %`,
  );
}
console.log(`${samples.length} samples since ${since}`);

// Says what a cleanup would delete, and deletes nothing.
import { createClient, runCleanup } from '@hsi/client';

const client = createClient({
  baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000',
  apiKey: process.env['HSI_API_KEY'],
});

const preview = await runCleanup(client, { query: { dry_run: true } });
if (preview.ok) {
  const { events_deleted, images_deleted, space_reclaimed, retention_days } = preview.data;
  console.log(
    `older than ${retention_days} days: would delete ${events_deleted} events and ${images_deleted} images, ${space_reclaimed} bytes`,
  );
} else if (preview.status === 503) {
  console.log(`try again in ${preview.retryAfterSeconds ?? 'some'} s: ${preview.data.detail}`);
} else {
  console.log(preview.status, preview.data.detail);
}

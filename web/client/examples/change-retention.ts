// Changes how long data is kept, first to a value that the server refuses.
import { createClient, updateSystemConfig } from '@hsi/client';

const client = createClient({
  baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000',
  apiKey: () => process.env['HSI_API_KEY'], // asked for before each write
});

for (const retention_days of [1000, 14]) {
  const result = await updateSystemConfig(client, { body: { retention_days } });
  switch (result.status) {
    case 200:
      console.log(`data is kept for ${result.data.retention_days} days`);
      break;
    case 401:
      console.log(`the key is missing or wrong: ${result.data.detail}`);
      break;
    case 422:
      for (const { loc, msg } of result.data.detail)
        console.log(`${loc.at(-1) ?? 'request'}: ${msg}`);
      break;
    default:
      console.log(`${result.status}: ${result.data.detail}`);
  }
}

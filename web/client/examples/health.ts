// Prints what works and what does not; exit code 1 when something does not.
import { createClient, getHealth } from '@hsi/client';

const client = createClient({ baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000' });

// 503 is an answer like 200: it says which service does not work.
const { ok, data } = await getHealth(client);
console.log(data.status);
for (const [name, service] of Object.entries(data.services)) {
  if (service)
    console.log(
      `  ${name}: ${service.status}${service.message === null ? '' : `, ${service.message}`}`,
    );
}
process.exitCode = ok ? 0 : 1;

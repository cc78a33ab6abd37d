// Writes all events of high and critical risk into a file, piece by piece. A file that is there
// afterwards is whole.
import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { Writable } from 'node:stream';

import { createClient, exportEvents } from '@hsi/client';

const client = createClient({
  baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000',
  apiKey: process.env['HSI_API_KEY'],
});

const to = Writable.toWeb(createWriteStream('events.csv.part'));
const result = await exportEvents(client, { query: { risk_level: ['high', 'critical'] }, to });
if (result.ok) {
  await rename('events.csv.part', 'events.csv');
  console.log(
    `events.csv is written; the server calls it ${result.headers.get('Content-Disposition') ?? 'nothing'}`,
  );
} else {
  console.log(result.status, result.data.detail);
}

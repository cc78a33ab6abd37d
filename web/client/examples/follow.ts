// Prints the newest events, then what happens from there on, until it is told to stop or, with an
// argument, has printed so many lines.
import { createClient, listEvents, streamEvents, unwrap, type Event } from '@hsi/client';

const client = createClient({
  baseUrl: process.env['HSI_URL'] ?? 'http://127.0.0.1:8000',
  apiKey: process.env['HSI_API_KEY'],
});
const most = Number(process.argv[2] ?? Infinity);
let printed = 0;

function print(what: string, { camera_name, id, started_at, summary }: Event): void {
  console.log(
    `${what} ${id}: ${started_at} ${camera_name ?? 'unknown camera'}: ${summary ?? 'no summary'}`,
  );
  printed += 1;
}

// The list says where the stream stood when it was read: followed from there, nothing is missed and
// nothing comes twice.
const { events, position } = unwrap(await listEvents(client, { query: { limit: 10 } }));
for (const event of events) print('event', event);

const onReconnect = (cause: Error, delayMs: number) =>
  console.error(`${cause.message}; next try in ${Math.round(delayMs)} ms`);
for await (const frame of streamEvents(client, { lastEventId: position, onReconnect })) {
  if (printed >= most) break;
  switch (frame.kind) {
    case 'event':
      print('event', frame.data);
      break;
    case 'event_changed':
      print('changed', frame.data);
      break;
    case 'events_removed':
      console.log(`gone: ${frame.data.ids.join(', ')}`);
      break;
    case 'resync':
      console.log(`changes are missing (${frame.data.reason}): read the list again`);
      break;
    case 'system_status':
      console.log(`system: ${frame.data.health}`);
      break;
    default: // cameras, and a word when we are too slow
  }
}

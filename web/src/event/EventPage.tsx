import type { Store } from '../store.ts';

/** One event: what was seen, and why it was judged so. */
export function EventPage({ eventId }: { store: Store; eventId: number }) {
  return <h1>Event {eventId}</h1>;
}

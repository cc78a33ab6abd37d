import { type Client, createClient, getHealth, getReadiness, getSeverity, getStats, getSystemConfig, unwrap } from '@hsi/client';
import { type Signal, signal } from '@preact/signals';

import type { HealthAnswer } from './health/verdict.ts';
import { Live } from './live/live.ts';
import { Poller } from './live/poller.ts';

/** Longest time of a question that is asked again and again, in milliseconds. */
const pollTimeoutMs = 8_000;
/** The heartbeat gives up earlier, so that a server that hangs is noticed soon. */
const heartbeatTimeoutMs = 4_000;

/** Everything that the page knows, and how it is kept current. */
export type Store = ReturnType<typeof createStore>;

/** Makes the store for the server at baseUrl. Nothing is asked before `live.run`. */
export function createStore(baseUrl: string) {
  /** Kept in memory only: closing or reloading the page forgets it. */
  const apiKey: Signal<string | undefined> = signal(undefined);
  /** How far the server's clock is ahead of this machine's, in milliseconds; good to a second. */
  const clockOffsetMs = signal(0);
  const client = createClient({ baseUrl, apiKey: () => apiKey.value, timeoutMs: pollTimeoutMs, fetch: noticingTheClock(clockOffsetMs) });

  const health = new Poller(2_000, (signal) => askHealth(client, signal));
  const stats = new Poller(5_000, async (signal) => unwrap(await getStats(client, { signal })));
  const config = new Poller(15_000, async (signal) => unwrap(await getSystemConfig(client, { signal })));
  const severity = new Poller(60_000, async (signal) => unwrap(await getSeverity(client, { signal })));

  return { client, apiKey, clockOffsetMs, health, stats, config, severity, live: new Live(health, [stats, config, severity]) };
}

/** Asks both health checks at once. A 503 of theirs is an answer with the same body as 200. */
async function askHealth(client: Client, signal: AbortSignal): Promise<HealthAnswer> {
  const options = { signal, timeoutMs: heartbeatTimeoutMs };
  const [health, readiness] = await Promise.all([getHealth(client, options), getReadiness(client, options)]);
  return { health: health.data, readiness: readiness.data };
}

/** A fetch that learns the server's time from each answer. */
function noticingTheClock(offsetMs: Signal<number>): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const serverMs = Date.parse(response.headers.get('Date') ?? '');
    if (!Number.isNaN(serverMs)) offsetMs.value = serverMs - Date.now();
    return response;
  };
}

import {
  type Client,
  createClient,
  getGPUStats,
  getHealth,
  getPipelineLatency,
  getReadiness,
  getSeverity,
  getStats,
  getStorage,
  getSystemConfig,
  getTelemetry,
  listDeadLetters,
  listGPUHistory,
  unwrap,
} from '@hsi/client';
import { type Signal, signal } from '@preact/signals';
import { historyLimit } from 'virtual:contract';

import { type History, askFrom, join } from './gpu/history.ts';
import type { HealthAnswer } from './health/verdict.ts';
import { Live } from './live/live.ts';
import { Poller } from './live/poller.ts';
import { Writer } from './write/writer.ts';

/** Longest time of a question that is asked again and again, in milliseconds. */
const pollTimeoutMs = 8_000;
/** The heartbeat gives up earlier, so that a server that hangs is noticed soon. */
const heartbeatTimeoutMs = 4_000;
/** Most dead letters that are listed. */
const listedDeadLetters = 10;

/** Everything that the page knows, and how it is kept current. */
export type Store = ReturnType<typeof createStore>;

/** Makes the store for the server at baseUrl. Nothing is asked before `live.run`. */
export function createStore(baseUrl: string) {
  const writer = new Writer();
  /** How far the server's clock is ahead of this machine's, in milliseconds; good to a second. */
  const clockOffsetMs = signal(0);
  const client = createClient({
    baseUrl,
    apiKey: () => writer.key.value,
    timeoutMs: pollTimeoutMs,
    fetch: noticingTheClock(clockOffsetMs),
  });
  /** What was chosen on the page, in minutes. */
  const windowMinutes = signal<number>(60);
  const rangeMinutes = signal<number>(60);

  const health = new Poller(2_000, (abort) => askHealth(client, abort));
  const stats = new Poller(5_000, async (abort) =>
    unwrap(await getStats(client, { signal: abort })),
  );
  const telemetry = new Poller(3_000, async (abort) =>
    unwrap(await getTelemetry(client, { signal: abort })),
  );
  const latency = new Poller(10_000, async (abort) =>
    unwrap(
      await getPipelineLatency(client, {
        signal: abort,
        query: { window_minutes: windowMinutes.value },
      }),
    ),
  );
  const gpu = new Poller(5_000, async (abort) =>
    unwrap(await getGPUStats(client, { signal: abort })),
  );
  const history: Poller<History> = new Poller(5_000, (abort) =>
    askHistory(
      client,
      abort,
      history.state.value.value,
      Date.now() + clockOffsetMs.value,
      rangeMinutes.value,
    ),
  );
  const storage = new Poller(10_000, async (abort) =>
    unwrap(await getStorage(client, { signal: abort })),
  );
  const deadLetters = new Poller(10_000, async (abort) =>
    unwrap(await listDeadLetters(client, { signal: abort, query: { limit: listedDeadLetters } })),
  );
  const config = new Poller(10_000, async (abort) =>
    unwrap(await getSystemConfig(client, { signal: abort })),
  );
  const severity = new Poller(60_000, async (abort) =>
    unwrap(await getSeverity(client, { signal: abort })),
  );

  const others = [stats, telemetry, latency, gpu, history, storage, deadLetters, config, severity];
  return {
    client,
    writer,
    clockOffsetMs,
    live: new Live(health, others),
    health,
    stats,
    telemetry,
    latency,
    gpu,
    history,
    storage,
    deadLetters,
    config,
    severity,
    windowMinutes,
    rangeMinutes,
    chooseWindow(minutes: number) {
      windowMinutes.value = minutes;
      latency.refresh();
    },
    chooseRange(minutes: number) {
      rangeMinutes.value = minutes;
      history.refresh();
    },
    /** Asks for everything now, since a write may have changed anything. */
    refreshAll() {
      for (const poller of others) poller.refresh();
    },
  };
}

/** Asks both health checks at once. A 503 of theirs is an answer with the same body as 200. */
async function askHealth(client: Client, abort: AbortSignal): Promise<HealthAnswer> {
  const options = { signal: abort, timeoutMs: heartbeatTimeoutMs };
  const [health, readiness] = await Promise.all([
    getHealth(client, options),
    getReadiness(client, options),
  ]);
  return { health: health.data, readiness: readiness.data };
}

/**
 * Asks for the samples of the chosen range that are not there yet. `toMs` is the server's present.
 */
async function askHistory(
  client: Client,
  abort: AbortSignal,
  kept: History | undefined,
  toMs: number,
  minutes: number,
): Promise<History> {
  const fromMs = toMs - minutes * 60_000;
  const askedFromMs = askFrom(kept, fromMs);
  const limit = historyLimit.maximum;
  const query = { since: new Date(askedFromMs).toISOString(), limit };
  const { samples } = unwrap(await listGPUHistory(client, { signal: abort, query }));
  return join(kept, samples, { fromMs, toMs, askedFromMs, limit });
}

/** A fetch that learns the server's time from each answer. */
function noticingTheClock(offsetMs: Signal<number>): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const serverMs = Date.parse(response.headers.get('Date') ?? '');
    // The header is cut to whole seconds: half of one is the best guess, and small changes are
    // noise.
    const offset = serverMs + 500 - Date.now();
    if (!Number.isNaN(offset) && Math.abs(offset - offsetMs.peek()) > 2_000)
      offsetMs.value = offset;
    return response;
  };
}

import {
  type Client,
  createClient,
  createSession,
  deleteSession,
  getGPUStats,
  getHealth,
  getPipelineLatency,
  getReadiness,
  getSeverity,
  getStats,
  getStorage,
  getSystemConfig,
  getTelemetry,
  listCameras,
  listDeadLetters,
  listGPUHistory,
  unwrap,
} from '@hsi/client';
import { type Signal, computed, effect, signal, untracked } from '@preact/signals';
import { historyLimit } from 'virtual:contract';

import { type History, askFrom, join } from './gpu/history.ts';
import type { HealthAnswer } from './health/verdict.ts';
import { Live } from './live/live.ts';
import { Poller } from './live/poller.ts';
import { Access, type Memory } from './access/access.ts';
import { askPrivate } from './access/private.ts';
import type { Draft } from './event/note.ts';
import { localZone } from './events/days.ts';
import { Timeline } from './events/timeline.ts';
import { Feed } from './feed/feed.ts';
import { Router } from './router/router.ts';

/** Longest time of a question that is asked again and again, in milliseconds. */
const pollTimeoutMs = 8_000;
/** The heartbeat gives up earlier, so that a server that hangs is noticed soon. */
const heartbeatTimeoutMs = 4_000;
/** Most dead letters that are listed. */
const listedDeadLetters = 10;

/** Everything that the page knows, and how it is kept current. */
export type Store = ReturnType<typeof createStore>;

/** What of the browser the page stands on. */
export interface Surroundings {
  window: Window;
  /** Undefined where the browser keeps nothing. */
  memory: Memory | undefined;
}

/** Makes the store for the server at baseUrl. Nothing is asked before `run`. */
export function createStore(baseUrl: string, { memory, window }: Surroundings) {
  /** How far the server's clock is ahead of this machine's, in milliseconds; good to a second. */
  const clockOffsetMs = signal(0);
  const client = createClient({
    baseUrl,
    timeoutMs: pollTimeoutMs,
    fetch: noticingTheClock(clockOffsetMs),
  });
  const access = new Access(
    {
      create: (key) =>
        createSession(createClient({ baseUrl, apiKey: key, timeoutMs: pollTimeoutMs })),
      end: () => deleteSession(client),
    },
    memory,
  );
  const router = new Router(baseUrl, window);
  const feed = new Feed(client, baseUrl);
  const nowMs = () => Date.now() + clockOffsetMs.value;
  const timeline = new Timeline({ client, access, feed, router, timeZone: localZone(), nowMs });
  /** What was chosen on the system page, in minutes. */
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

  const cameras = new Poller(30_000, async (abort) => {
    const list = await askPrivate(access, listCameras(client, { signal: abort }));
    feed.follow(list.position);
    return list;
  });

  const ofSystem = [stats, telemetry, latency, gpu, history, storage, deadLetters];
  const ofAll = [config, severity];
  const isSystem = computed(() => router.route.value.page === 'system');
  const mayLook = computed(() => !isSystem.value && access.refusal.value === undefined);
  const live = new Live(health, [
    { pollers: ofAll, isWanted: computed(() => true) },
    { pollers: ofSystem, isWanted: isSystem },
    { pollers: [cameras], isWanted: mayLook },
  ]);
  return {
    client,
    access,
    router,
    feed,
    timeline,
    /** Notes that were typed and not saved, by event: signing in again must not lose them. */
    drafts: new Map<number, Draft>(),
    cameras,
    clockOffsetMs,
    /** The server's present, in milliseconds since the epoch. */
    nowMs,
    live,
    /** Starts everything; the function that it returns ends it. */
    run() {
      const ends = [
        router.run(),
        live.run(window.document),
        feed.run(window.document, window),
        timeline.run(),
        followTabs(access, window),
        feed.onChange(({ kind }) => {
          if (kind === 'camera' || kind === 'resync') cameras.refresh();
        }),
        effect(() => {
          // The stream is refused when the session has ended: what is private says so too.
          if (feed.state.value.state === 'refused') untracked(() => cameras.refresh());
        }),
      ];
      return () => ends.forEach((end) => end());
    },
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
      for (const poller of [...ofSystem, ...ofAll]) poller.refresh();
    },
  };
}

/** Hears of other tabs that sign in or out; the function that it returns ends that. */
function followTabs(access: Access, window: Window): () => void {
  const onStorage = () => access.follow();
  window.addEventListener('storage', onStorage);
  return () => window.removeEventListener('storage', onStorage);
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

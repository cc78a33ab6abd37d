// Compiled and never run: what must not compile, each marked, and what the types must say. An
// unneeded mark is a compile error too.
import * as api from '@hsi/client';
import {
  createClient,
  eachDetection,
  eachEvent,
  exportEvents,
  getEventImage,
  getGPUStats,
  getHealth,
  getLiveness,
  getSeverity,
  getSystemConfig,
  getTelemetry,
  listDeadLetters,
  listGPUHistory,
  requeueDeadLetters,
  runCleanup,
  streamEvents,
  unwrap,
  updateSystemConfig,
  type DeadLetter,
  type Detection,
  type ErrorBody,
  type Event,
  type Health,
  type HealthState,
  type StreamEventsFrame,
  type SystemConfig,
  type ValidationErrorBody,
} from '@hsi/client';

type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<_T extends true>(): void {}
/** True when any is found in the value, at any depth. */
type HasAny<T> = 0 extends 1 & T
  ? true
  : T extends object
    ? true extends { [K in keyof T]-?: HasAny<T[K]> }[keyof T]
      ? true
      : false
    : false;
is<Equal<HasAny<{ deep: { list: ReturnType<typeof JSON.parse>[] } }>, true>>(); // the check itself works

const client = createClient({ baseUrl: 'http://127.0.0.1:8000' });

// A wrong path: an operation that does not exist, under a name or on the client.
// @ts-expect-error no such operation
import { getHealthz } from '@hsi/client';
void getHealthz;
// @ts-expect-error no such operation
void client.getHealth;
// @ts-expect-error the options of another operation's path
const wrongPath: api.ListGpuHistoryData['url'] = '/api/system/gpu/histori';
void wrongPath;

// Without a client.
// @ts-expect-error the client is missing
void getHealth();
// @ts-expect-error settings are no client
void getHealth({ baseUrl: 'http://127.0.0.1:8000' });
// @ts-expect-error an unknown setting
createClient({ baseURL: 'http://127.0.0.1:8000' });

// Parameters: missing, unknown, of a wrong type.
// @ts-expect-error the body is missing
void updateSystemConfig(client);
// @ts-expect-error the body is missing
void updateSystemConfig(client, {});
// @ts-expect-error the body is missing
void requeueDeadLetters(client, { signal: AbortSignal.timeout(1) });
// @ts-expect-error an unknown field of the body
void updateSystemConfig(client, { body: { retention_days: 14, retention: 3 } });
// @ts-expect-error a wrong type in the body
void updateSystemConfig(client, { body: { retention_days: '14' } });
// @ts-expect-error only true is meaningful
void requeueDeadLetters(client, { body: { all: false } });
// @ts-expect-error a wrong type in a list
void requeueDeadLetters(client, { body: { ids: ['4711'] } });
// @ts-expect-error this operation takes no body
void runCleanup(client, { body: { dry_run: true } });
// @ts-expect-error a wrong type in the query
void listGPUHistory(client, { query: { limit: '5' } });
// @ts-expect-error an unknown query parameter
void listGPUHistory(client, { query: { limt: 5 } });
// @ts-expect-error this operation has no query
void getSeverity(client, { query: {} });
// @ts-expect-error an unknown option
void getHealth(client, { timeout: 5 });

// Answers: each status has its own type.
const health = await getHealth(client);
is<Equal<typeof health.status, 200 | 503>>();
is<Equal<typeof health.data, Health>>();
is<Equal<HealthState, 'healthy' | 'degraded' | 'unhealthy'>>();
// @ts-expect-error no such status
void (health.status === 500);
// @ts-expect-error a wrong enum value
void (health.data.status === 'fine');
// @ts-expect-error a wrong enum value
const state: HealthState = 'ok';
void state;
// @ts-expect-error optional services may be absent
void health.data.services['storage'].status;
// @ts-expect-error a message may be null
void health.data.services.ai.message.length;

const alive = await getLiveness(client);
is<Equal<typeof alive.status, 200>>();
is<Equal<typeof alive.ok, true>>();

const config = await getSystemConfig(client);
// @ts-expect-error data may be an error's body
void config.data.retention_days;
// @ts-expect-error reading has no 401
void (config.status === 401);
if (config.ok) is<Equal<typeof config.data, SystemConfig>>();
else is<Equal<typeof config.data, ErrorBody | ValidationErrorBody>>();

const change = await updateSystemConfig(client, { body: {} });
switch (change.status) {
  case 200:
    is<Equal<typeof change.data, SystemConfig>>();
    break;
  case 422:
    is<Equal<typeof change.data, ValidationErrorBody>>();
    break;
  case 401:
  case 403:
  case 413:
  case 415:
  case 421:
  case 429:
  case 500:
  case 503:
    is<Equal<typeof change.data, ErrorBody>>();
    break;
  default: {
    const never: never = change; // every documented status is above
    void never;
  }
}

const gpu = unwrap(await getGPUStats(client));
is<Equal<typeof gpu, api.GPUStats>>();
// @ts-expect-error not known is null
void gpu.utilization.toFixed();
const telemetry = unwrap(await getTelemetry(client));
// @ts-expect-error a stage without samples is null
void telemetry.latencies.detect.p95_ms;
const letters = unwrap(await listDeadLetters(client, { query: { after_id: 3 } }));
is<Equal<(typeof letters.dead_letters)[number], DeadLetter>>();
is<Equal<DeadLetter['kind'], 'image' | 'batch'>>();

// Rows, files and frames.
for await (const event of eachEvent(client, { query: { risk_level: ['high'] } }))
  is<Equal<typeof event, Event>>();
for await (const detection of eachDetection(client)) is<Equal<typeof detection, Detection>>();
// @ts-expect-error an unknown level
void eachEvent(client, { query: { risk_level: ['higher'] } });

const picture = await getEventImage(client, { path: { event_id: 1 }, ifNoneMatch: '"a"' });
is<Equal<typeof picture.headers, Headers>>();
if (picture.status === 304) is<Equal<typeof picture.data, undefined>>();
if (picture.ok) void picture.data.arrayBuffer();
if (picture.status === 410) is<Equal<typeof picture.data, ErrorBody>>();
const table = await exportEvents(client);
if (table.ok) is<Equal<typeof table.data, string>>();
// @ts-expect-error an export has no ETag
void exportEvents(client, { ifNoneMatch: '"a"' });
// @ts-expect-error what is no file goes nowhere
void getSeverity(client, { to: new WritableStream<Uint8Array>() });

for await (const frame of streamEvents(client, { lastEventId: 'e-1' })) {
  is<Equal<typeof frame.lastEventId, string | null>>();
  switch (frame.kind) {
    case 'event':
    case 'event_changed':
      is<Equal<typeof frame.data, Event>>();
      break;
    case 'events_removed':
      is<Equal<typeof frame.data.ids, number[]>>();
      break;
    case 'camera':
    case 'resync':
    case 'system_status':
    case 'lagged':
      break;
    default: {
      const never: never = frame; // every kind is above
      void never;
    }
  }
}

// No any in what any operation returns, nor in the rows and frames.
type Answers = {
  [Name in keyof typeof api]: (typeof api)[Name] extends (...args: never[]) => Promise<infer R>
    ? R
    : null;
};
is<Equal<HasAny<Answers>, false>>();
is<Equal<HasAny<[Event, Detection, StreamEventsFrame]>, false>>();

// A valid and an invalid call of every operation. The names come from the package, so that a new operation without a call here does not
// compile.
import * as api from '@hsi/client';
import type { Client, Result } from '@hsi/client';

type Call = (client: Client) => Promise<Result<Record<number, unknown>, Record<number, unknown>>>;

/** The exports that are operations: functions of a client that promise a result. */
type OperationName = {
  [Name in keyof typeof api]: (typeof api)[Name] extends (client: Client, ...rest: never[]) => Promise<infer R>
    ? R extends { ok: boolean; status: number }
      ? Name
      : never
    : never;
}[keyof typeof api];

/** Each is answered with 200 by a server that works. */
export const valid: Record<OperationName, Call> = {
  getLiveness: (client) => api.getLiveness(client),
  getReadinessProbe: (client) => api.getReadinessProbe(client),
  getHealth: (client) => api.getHealth(client),
  getReadiness: (client) => api.getReadiness(client),
  getGPUStats: (client) => api.getGPUStats(client),
  listGPUHistory: (client) => api.listGPUHistory(client, { query: { since: '2025-12-23T09:00:00+01:00', limit: 5 } }),
  getStats: (client) => api.getStats(client),
  getSystemConfig: (client) => api.getSystemConfig(client),
  updateSystemConfig: (client) => api.updateSystemConfig(client, { body: { retention_days: 21, batch_window_seconds: null } }),
  getTelemetry: (client) => api.getTelemetry(client),
  getPipelineLatency: (client) => api.getPipelineLatency(client, { query: { window_minutes: 5 } }),
  listDeadLetters: (client) => api.listDeadLetters(client, { query: { limit: 10 } }),
  requeueDeadLetters: (client) => api.requeueDeadLetters(client, { body: { all: true } }),
  runCleanup: (client) => api.runCleanup(client, { query: { dry_run: true } }),
  getSeverity: (client) => api.getSeverity(client),
  getStorage: (client) => api.getStorage(client),
};

// What the types refuse and the server too. Probes have no invalid request.
const unknownParameter = { query: { unknown: 1 } };

/** Each is answered with 422. */
export const invalid: Record<Exclude<OperationName, 'getLiveness' | 'getReadinessProbe' | 'getHealth' | 'getReadiness'>, Call> = {
  // @ts-expect-error an unknown query parameter
  getGPUStats: (client) => api.getGPUStats(client, unknownParameter),
  listGPUHistory: (client) => api.listGPUHistory(client, { query: { since: 'yesterday' } }),
  // @ts-expect-error an unknown query parameter
  getStats: (client) => api.getStats(client, unknownParameter),
  // @ts-expect-error an unknown query parameter
  getSystemConfig: (client) => api.getSystemConfig(client, unknownParameter),
  updateSystemConfig: (client) => api.updateSystemConfig(client, { body: { retention_days: 0 } }),
  // @ts-expect-error an unknown query parameter
  getTelemetry: (client) => api.getTelemetry(client, unknownParameter),
  getPipelineLatency: (client) => api.getPipelineLatency(client, { query: { window_minutes: 1441 } }),
  listDeadLetters: (client) => api.listDeadLetters(client, { query: { limit: 0 } }),
  requeueDeadLetters: (client) => api.requeueDeadLetters(client, { body: {} }),
  // @ts-expect-error a number is no boolean
  runCleanup: (client) => api.runCleanup(client, { query: { dry_run: 1 } }),
  // @ts-expect-error an unknown query parameter
  getSeverity: (client) => api.getSeverity(client, unknownParameter),
  // @ts-expect-error an unknown query parameter
  getStorage: (client) => api.getStorage(client, unknownParameter),
};

/** The operations that take the API key, called without it or with a wrong one: 401. */
export const secured = ['updateSystemConfig', 'requeueDeadLetters', 'runCleanup'] as const satisfies OperationName[];

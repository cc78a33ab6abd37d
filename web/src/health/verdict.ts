import type { Health, HealthState, Readiness, ServiceStatus, Worker } from '@hsi/client';

import { adviceForService, adviceForWorker, serviceName, workerName } from './advice.ts';

/** What the health checks answered, asked at the same time. */
export interface HealthAnswer {
  health: Health;
  readiness: Readiness;
}

/**
 * How something is doing, for its colour and sign: `good`, `limited` (works, with a problem) or
 * `down`.
 */
export type Level = 'good' | 'limited' | 'down';

/** One service or worker as a row of the page. */
export interface Row {
  /** The name in the API. */
  key: string;
  name: string;
  level: Level;
  /** One word for the level. */
  word: string;
  message: string;
  /** More, by name. */
  details: [name: string, value: string][];
  /** What a person can do; undefined when there is nothing to do. */
  advice: string | undefined;
}

/** The whole in words, and the rows that it rests on. */
export interface Verdict {
  level: Level;
  title: string;
  sentence: string;
  services: Row[];
  workers: Row[];
}

const worst: Record<HealthState, number> = { healthy: 0, degraded: 1, unhealthy: 2 };
const levelOf: Record<HealthState, Level> = {
  healthy: 'good',
  degraded: 'limited',
  unhealthy: 'down',
};
const wordOf: Record<HealthState, string> = {
  healthy: 'Healthy',
  degraded: 'Degraded',
  unhealthy: 'Unhealthy',
};

/**
 * Puts both answers into words. The verdict is computed from the very rows that are shown, and from
 * both overall states, so it cannot be better than any of them. When the two answers, asked a
 * moment apart, disagree about a service, the worse one is shown.
 */
export function verdictOf({ health, readiness }: HealthAnswer): Verdict {
  const merged = worseOf(health.services, readiness.services);
  const services = Object.entries(merged)
    .map(([key, status]) => serviceRow(key, status))
    .toSorted((a, b) => rank(a.key) - rank(b.key));
  const workers = readiness.workers.map(workerRow);
  const bad = [...services, ...workers].filter((row) => row.level !== 'good');
  return { ...judge(health, readiness, merged, bad), services, workers };
}

/** The order of the contract; services that it does not name come last. */
const order = ['database', 'redis', 'ai', 'storage'];

function rank(key: string): number {
  const at = order.indexOf(key);
  return at < 0 ? order.length : at;
}

function worseOf(
  one: Health['services'],
  other: Health['services'],
): Record<string, ServiceStatus> {
  const merged: Record<string, ServiceStatus> = { ...one } as Record<string, ServiceStatus>;
  for (const [key, status] of Object.entries(other) as [string, ServiceStatus][]) {
    const known = merged[key];
    if (known === undefined || worst[status.status] > worst[known.status]) merged[key] = status;
  }
  return merged;
}

function serviceRow(key: string, { status, message, details }: ServiceStatus): Row {
  return {
    key,
    name: serviceName(key),
    level: levelOf[status],
    word: wordOf[status],
    message: message ?? '',
    details: Object.entries(details ?? {}),
    advice: status === 'healthy' ? undefined : adviceForService(key, message ?? '', details ?? {}),
  };
}

function workerRow({ name, running, message }: Worker): Row {
  return {
    key: name,
    name: workerName(name),
    level: running ? 'good' : 'down',
    word: running ? 'Running' : 'Not running',
    message: message ?? '',
    details: [],
    advice: running ? undefined : adviceForWorker(message ?? ''),
  };
}

function judge(
  health: Health,
  readiness: Readiness,
  services: Record<string, ServiceStatus>,
  bad: Row[],
): Pick<Verdict, 'level' | 'title' | 'sentence'> {
  const databaseIsDown = services['database']?.status !== 'healthy';
  if (health.status === 'unhealthy' || databaseIsDown) {
    return {
      level: 'down',
      title: 'Not working',
      sentence:
        'Without its database the system cannot work. New pictures stay in their folders and are taken up when it is back.',
    };
  }
  if (!readiness.ready) {
    return {
      level: 'down',
      title: 'Pictures are not being looked at',
      sentence: `${listOf(bad)}. New pictures wait; none is lost.`,
    };
  }
  if (bad.length > 0 || health.status !== 'healthy' || readiness.status !== 'ready') {
    return {
      level: 'limited',
      title: 'Working, with a problem',
      sentence: `${listOf(bad)}. Everything else works.`,
    };
  }
  return {
    level: 'good',
    title: 'Everything works',
    sentence: 'All services answer and all workers run.',
  };
}

/** Names what is wrong: "Redis is unhealthy, detection does not run". */
function listOf(bad: Row[]): string {
  if (bad.length === 0) return 'The server says so but names no cause';
  return bad
    .map((row) => `${row.name}: ${row.message === '' ? row.word.toLowerCase() : row.message}`)
    .join('. ');
}

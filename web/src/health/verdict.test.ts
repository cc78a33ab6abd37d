import type { HealthState, Readiness, ServiceStatus } from '@hsi/client';
import { describe, expect, test } from 'vitest';

import { adviceForService } from './advice.ts';
import { type HealthAnswer, verdictOf } from './verdict.ts';

const timestamp = '2026-01-01T00:00:00Z';

type States = Partial<Record<'database' | 'redis' | 'ai' | 'storage', HealthState>>;

function services(states: States) {
  const service = (status: HealthState = 'healthy'): ServiceStatus => ({
    status,
    message: `is ${status}`,
    details: null,
  });
  return {
    database: service(states.database),
    redis: service(states.redis),
    ai: service(states.ai),
    storage: service(states.storage),
  };
}

/** What a server in these states answers, by the rules of the contract. */
function answer(states: States, stopped: string[] = []): HealthAnswer {
  const all = services(states);
  const bad = Object.values(all).some(({ status }) => status !== 'healthy');
  const workers = [
    'gpu_monitor',
    'cleanup_service',
    'detection_worker',
    'analysis_worker',
    'file_watcher',
    'batch_worker',
  ].map((name) => ({
    name,
    running: !stopped.includes(name),
    message: stopped.includes(name) ? 'stuck: no heartbeat' : null,
  }));
  const coreStopped = stopped.some(
    (name) => name === 'detection_worker' || name === 'analysis_worker',
  );
  const databaseBad = all.database.status !== 'healthy';
  const redisBad = all.redis.status !== 'healthy';
  const status: Readiness['status'] = databaseBad
    ? 'not_ready'
    : redisBad
      ? 'degraded'
      : coreStopped
        ? 'not_ready'
        : 'ready';
  return {
    health: {
      status: databaseBad ? 'unhealthy' : bad ? 'degraded' : 'healthy',
      services: all,
      timestamp,
    },
    readiness: { ready: status === 'ready', status, services: all, workers, timestamp },
  };
}

describe('the verdict', () => {
  test('everything works', () => {
    const verdict = verdictOf(answer({}));
    expect(verdict).toMatchObject({ level: 'good', title: 'Everything works' });
    expect(verdict.services.map((row) => row.key)).toEqual(['database', 'redis', 'ai', 'storage']);
    expect([...verdict.services, ...verdict.workers].every((row) => row.advice === undefined)).toBe(
      true,
    );
  });

  test('without the database nothing works', () => {
    expect(verdictOf(answer({ database: 'unhealthy', ai: 'degraded' }))).toMatchObject({
      level: 'down',
      title: 'Not working',
    });
  });

  test('without Redis no picture is looked at', () => {
    const verdict = verdictOf(answer({ redis: 'unhealthy' }));
    expect(verdict).toMatchObject({ level: 'down', title: 'Pictures are not being looked at' });
    expect(verdict.sentence).toContain('Redis: is unhealthy');
  });

  test.each(['detection_worker', 'analysis_worker'])(
    'without %s no picture is looked at',
    (worker) => {
      expect(verdictOf(answer({}, [worker])).level).toBe('down');
    },
  );

  test.each<[States, string[]]>([
    [{ ai: 'degraded' }, []],
    [{ ai: 'unhealthy' }, []],
    [{ storage: 'degraded' }, []],
    [{}, ['file_watcher']],
    [{}, ['gpu_monitor']],
  ])('%o %o limits it', (states, stopped) => {
    expect(verdictOf(answer(states, stopped)).level).toBe('limited');
  });

  test('never contradicts its rows: good if and only if every row is good, and each bad row has its message and what to do', () => {
    const states: HealthState[] = ['healthy', 'degraded', 'unhealthy'];
    for (const database of states)
      for (const redis of states)
        for (const ai of states)
          for (const storage of states)
            for (const stopped of [
              [],
              ['file_watcher'],
              ['detection_worker'],
              ['analysis_worker', 'batch_worker'],
            ]) {
              const verdict = verdictOf(answer({ database, redis, ai, storage }, stopped));
              const bad = [...verdict.services, ...verdict.workers].filter(
                (row) => row.level !== 'good',
              );
              expect(verdict.level === 'good').toBe(bad.length === 0);
              for (const row of bad) {
                expect(row.message).not.toBe('');
                expect(row.advice).toBeTruthy();
              }
            }
  });

  test('when the two answers disagree, the worse one is shown and counts', () => {
    const before = answer({});
    const after = answer({ redis: 'unhealthy' });
    for (const mixed of [
      { health: before.health, readiness: after.readiness },
      { health: after.health, readiness: before.readiness },
    ]) {
      const verdict = verdictOf(mixed);
      expect(verdict.level).not.toBe('good');
      expect(verdict.services.find((row) => row.key === 'redis')?.level).toBe('down');
    }
  });

  test('shows services and workers that it does not know', () => {
    const given = answer({});
    given.health.services['object_store'] = { status: 'degraded', message: null, details: null };
    given.health.status = 'degraded';
    given.readiness.workers.push({ name: 'night_watch', running: true, message: null });
    const verdict = verdictOf(given);
    expect(verdict.services.at(-1)).toMatchObject({ name: 'Object store', level: 'limited' });
    expect(verdict.workers.at(-1)).toMatchObject({ name: 'Night watch', level: 'good' });
    expect(verdict.sentence).toContain('Object store: degraded');
  });
});

describe('what to do', () => {
  test('names the AI service that is in trouble', () => {
    expect(
      adviceForService('ai', '', { rtdetr: 'healthy', nemotron: 'connection refused' }),
    ).toContain('Check that Nemotron can');
    expect(adviceForService('ai', '', { rtdetr: 'embedded', nemotron: 'loading model' })).toContain(
      'Wait',
    );
    expect(
      adviceForService('ai', '', { rtdetr: 'model not loaded', nemotron: 'loading model' }),
    ).toContain('RT-DETR and Nemotron');
  });

  test('asks for patience while the server starts', () => {
    expect(adviceForService('database', 'Database unavailable: not checked yet', {})).toContain(
      'starting',
    );
  });
});

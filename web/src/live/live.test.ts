import { ConnectionError, StatusError, TimeoutError, UnexpectedResponseError } from '@hsi/client';
import { signal } from '@preact/signals';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

import { Live, freshness, isStale } from './live.ts';
import { Poller } from './poller.ts';
import { toProblem } from './problem.ts';

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A page that can be hidden. */
function fakePage() {
  const page = new EventTarget() as EventTarget & { hidden: boolean };
  page.hidden = false;
  return {
    page: page as unknown as Document,
    hide(hidden: boolean) {
      page.hidden = hidden;
      page.dispatchEvent(new Event('visibilitychange'));
    },
  };
}

/** A source whose answers the test decides. */
function source(intervalMs: number) {
  const load = vi.fn<(signal: AbortSignal) => Promise<string>>(() => Promise.resolve('fine'));
  return { load, poller: new Poller(intervalMs, load) };
}

const down = () => Promise.reject(new ConnectionError());
const tick = (ms: number) => vi.advanceTimersByTimeAsync(ms);

describe('a poller', () => {
  test('asks at once and then at each interval, counted from the start of the question', async () => {
    const { load, poller } = source(2_000);
    load.mockImplementation(() => new Promise((resolve) => setTimeout(() => resolve('slow'), 500)));
    poller.start();
    poller.start();
    await tick(0);
    expect(load).toHaveBeenCalledTimes(1);
    await tick(1_999);
    expect(load).toHaveBeenCalledTimes(1);
    await tick(1);
    expect(load).toHaveBeenCalledTimes(2);
  });

  test('never asks twice at a time, however slow the answer', async () => {
    const { load, poller } = source(1_000);
    load.mockImplementation(() => new Promise(() => undefined));
    poller.start();
    await tick(60_000);
    expect(load).toHaveBeenCalledTimes(1);
  });

  test('keeps the last answer and says why there is no newer one', async () => {
    const { load, poller } = source(1_000);
    poller.start();
    await tick(0);
    expect(poller.state.value).toEqual({
      value: 'fine',
      receivedAtMs: 1_000_000,
      problem: undefined,
    });
    load.mockImplementation(down);
    await tick(1_000);
    expect(poller.state.value).toEqual({
      value: 'fine',
      receivedAtMs: 1_000_000,
      problem: toProblem(new ConnectionError()),
    });
    load.mockResolvedValue('back');
    await tick(1_000);
    expect(poller.state.value).toEqual({
      value: 'back',
      receivedAtMs: 1_002_000,
      problem: undefined,
    });
  });

  test('waits as long as the server asks it to', async () => {
    const { load, poller } = source(1_000);
    const failure = {
      ok: false as const,
      status: 503,
      data: { detail: 'Database unavailable' },
      requestId: null,
      retryAfterSeconds: 5,
    };
    load.mockImplementation(() => Promise.reject(new StatusError(failure)));
    poller.start();
    await tick(4_999);
    expect(load).toHaveBeenCalledTimes(1);
    await tick(1);
    expect(load).toHaveBeenCalledTimes(2);
    expect(poller.state.value.problem).toEqual({
      kind: 'unavailable',
      text: 'Database unavailable',
      retryAfterMs: 5_000,
    });
  });

  test('stops, and drops the answer of a question that was given up', async () => {
    const { load, poller } = source(1_000);
    let answer: (value: string) => void = () => undefined;
    load.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    poller.start();
    poller.refresh();
    await tick(0);
    expect(poller.state.value.value).toBe('fine');
    answer('from before');
    await tick(0);
    expect(poller.state.value.value).toBe('fine');
    expect(load.mock.calls[0]?.[0].aborted).toBe(true);
    poller.stop();
    await tick(10_000);
    expect(load).toHaveBeenCalledTimes(2);
    poller.refresh();
    await tick(10_000);
    expect(load).toHaveBeenCalledTimes(2);
  });

  test('takes an answer that came another way, and drops an older one that is under way', async () => {
    const { load, poller } = source(1_000);
    let answer: (value: string) => void = () => undefined;
    load.mockImplementationOnce(() => new Promise((resolve) => (answer = resolve)));
    poller.start();
    poller.accept('written');
    answer('read before the write');
    await tick(999);
    expect(poller.state.value.value).toBe('written');
    await tick(1);
    expect(poller.state.value.value).toBe('fine');
  });
});

describe('the whole', () => {
  function setUp() {
    const heartbeat = source(2_000);
    const other = source(5_000);
    const isWanted = signal(true);
    const live = new Live(heartbeat.poller, [{ pollers: [other.poller], isWanted }]);
    const { page, hide } = fakePage();
    return { heartbeat, other, isWanted, live, hide, end: live.run(page) };
  }

  test('a lost connection stops everything but the heartbeat, and its return asks for everything at once', async () => {
    const { heartbeat, other, live } = setUp();
    expect(live.connection.value.state).toBe('connecting');
    await tick(0);
    expect(live.connection.value.state).toBe('live');
    heartbeat.load.mockImplementation(down);
    await tick(2_000);
    expect(live.connection.value).toMatchObject({ state: 'lost', lastAnswerAtMs: 1_000_000 });
    await tick(60_000);
    expect(other.load).toHaveBeenCalledTimes(1);
    expect(heartbeat.load).toHaveBeenCalledTimes(32);
    heartbeat.load.mockResolvedValue('back');
    await tick(2_000);
    expect(live.connection.value.state).toBe('live');
    expect(other.load).toHaveBeenCalledTimes(2);
  });

  test('an answer that says "not now" is an answer: the connection is there', async () => {
    const { heartbeat, live } = setUp();
    const failure = {
      ok: false as const,
      status: 503,
      data: { detail: 'x' },
      requestId: null,
      retryAfterSeconds: null,
    };
    heartbeat.load.mockImplementation(() => Promise.reject(new StatusError(failure)));
    await tick(2_000);
    expect(live.connection.value.state).toBe('live');
  });

  test('a hidden tab asks nothing; shown again, it asks at once', async () => {
    const { heartbeat, other, live, hide } = setUp();
    await tick(0);
    hide(true);
    await tick(600_000);
    expect(heartbeat.load).toHaveBeenCalledTimes(1);
    expect(other.load).toHaveBeenCalledTimes(1);
    hide(false);
    expect(live.nowMs.value).toBe(1_600_000);
    const seen = freshness(other.poller.state.value, 5_000, live.nowMs.value, true);
    expect(seen).toEqual({ ageMs: 600_000, stale: true });
    await tick(0);
    expect(heartbeat.load).toHaveBeenCalledTimes(2);
    expect(other.load).toHaveBeenCalledTimes(2);
  });

  test('what nothing on the page needs is not asked for', async () => {
    const { heartbeat, isWanted, other } = setUp();
    await tick(0);
    isWanted.value = false;
    await tick(60_000);
    expect(other.load).toHaveBeenCalledTimes(1);
    expect(heartbeat.load).toHaveBeenCalledTimes(31);
    isWanted.value = true;
    await tick(0);
    expect(other.load).toHaveBeenCalledTimes(2);
  });

  test('ends', async () => {
    const { heartbeat, other, end, hide } = setUp();
    await tick(0);
    end();
    hide(true);
    hide(false);
    await tick(60_000);
    expect(heartbeat.load).toHaveBeenCalledTimes(1);
    expect(other.load).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('staleness', () => {
  const polled = (receivedAtMs: number | undefined, failed = false) => ({
    value: 1,
    receivedAtMs,
    problem: failed ? toProblem(new ConnectionError()) : undefined,
  });

  test('three turns without an answer make a value stale', () => {
    expect(isStale(17_000, 5_000)).toBe(false);
    expect(isStale(17_001, 5_000)).toBe(true);
  });

  test('what was never there is not stale', () => {
    expect(freshness(polled(undefined), 1_000, 99_000, false)).toEqual({
      ageMs: undefined,
      stale: false,
    });
  });

  test('a value is stale at once when the last try failed or the connection is lost', () => {
    expect(freshness(polled(5_000), 1_000, 5_500, true)).toEqual({ ageMs: 500, stale: false });
    expect(freshness(polled(5_000, true), 1_000, 5_500, true).stale).toBe(true);
    expect(freshness(polled(5_000), 1_000, 5_500, false).stale).toBe(true);
  });

  test('a clock that was set back makes nothing younger than new', () => {
    expect(freshness(polled(5_000), 1_000, 1_000, true)).toEqual({ ageMs: 0, stale: false });
  });
});

test('problems in words', () => {
  expect(toProblem(new ConnectionError()).kind).toBe('unreachable');
  expect(toProblem(new TimeoutError(4_000))).toEqual({
    kind: 'unreachable',
    text: 'The server gave no answer for 4 seconds.',
  });
  expect(toProblem(new UnexpectedResponseError('x', { status: 502, body: '' })).kind).toBe(
    'unreachable',
  );
  const answer = (status: number, data: unknown) =>
    toProblem(
      new StatusError({ ok: false, status, data, requestId: null, retryAfterSeconds: null }),
    );
  expect(answer(409, { detail: 'A cleanup is already running' })).toEqual({
    kind: 'failed',
    text: 'A cleanup is already running',
  });
  expect(
    answer(422, { detail: [{ loc: ['query', 'limit'], msg: 'too big', type: 'maximum' }] }).text,
  ).toBe('too big');
  expect(answer(500, null).text).toBe('The server answered with status 500.');
  expect(toProblem(new Error('internal text')).text).not.toContain('internal text');
});

import { StatusError, type StreamEventsFrame } from '@hsi/client';
import { expect, test, vi } from 'vitest';

import { type FromHub, Hub, type OpenStream } from './hub.ts';
import { isCovered } from './position.ts';

test('positions of one database follow each other; those of others cover nothing', () => {
  expect(isCovered('a-5', 'a-5')).toBe(true);
  expect(isCovered('a-5', 'a-10')).toBe(true);
  expect(isCovered('a-10', 'a-9')).toBe(false);
  expect(isCovered('a-5', 'b-10')).toBe(false);
});

const changed = (position: number): StreamEventsFrame =>
  ({ kind: 'events_removed', data: { ids: [position] }, lastEventId: `a-${position}` }) as const;

/** A stream that the test writes. */
function setUp() {
  const opened: {
    lastEventId: string | undefined;
    push: (frame: StreamEventsFrame) => void;
    fail: (error: Error) => void;
    signal: AbortSignal;
  }[] = [];
  const open: OpenStream = ({ lastEventId, signal }) => {
    const frames: (StreamEventsFrame | Error)[] = [];
    let wake: () => void = () => undefined;
    const put = (item: StreamEventsFrame | Error) => {
      frames.push(item);
      wake();
    };
    signal.addEventListener('abort', () => wake());
    opened.push({ lastEventId, push: put, fail: put, signal });
    return (async function* () {
      for (;;) {
        const next = frames.shift();
        if (next instanceof Error) throw next;
        if (next !== undefined) yield next;
        else if (signal.aborted) return;
        else await new Promise<void>((done) => (wake = done));
      }
    })();
  };
  let nowMs = 0;
  const hub = new Hub(open, () => nowMs);
  const page = () => {
    const told: FromHub[] = [];
    const follower = (message: FromHub) => told.push(message);
    return {
      told,
      ids: () =>
        told.flatMap((message) =>
          message.kind === 'frame' && message.frame.kind === 'events_removed'
            ? message.frame.data.ids
            : [],
        ),
      say: (message: Parameters<Hub['take']>[1]) => hub.take(follower, message),
    };
  };
  return { opened, page, pass: (ms: number) => (nowMs += ms) };
}

test('one connection for all pages; each is told what came after its own position, once', async () => {
  const { opened, page } = setUp();
  const first = page();
  first.say({ kind: 'follow', after: 'a-1' });
  expect(opened.map(({ lastEventId }) => lastEventId)).toEqual(['a-1']);
  for (const position of [2, 3, 4]) opened[0]?.push(changed(position));
  await vi.waitUntil(() => first.ids().length === 3);
  const second = page();
  second.say({ kind: 'follow', after: 'a-3' });
  opened[0]?.push(changed(5));
  await vi.waitUntil(() => second.ids().length === 2);
  expect(second.ids()).toEqual([4, 5]);
  expect(first.ids()).toEqual([2, 3, 4, 5]);
  expect(opened).toHaveLength(1);
});

test('a page that has read further back than is kept reads its lists anew', async () => {
  const { opened, page } = setUp();
  page().say({ kind: 'follow', after: 'a-10' });
  const late = page();
  late.say({ kind: 'follow', after: 'a-2' });
  expect(late.told.at(-1)).toMatchObject({ frame: { kind: 'resync' } });
  const foreign = page();
  foreign.say({ kind: 'follow', after: 'b-20' });
  expect(foreign.told.at(-1)).toMatchObject({ frame: { kind: 'resync' } });
  expect(opened).toHaveLength(1);
});

test('the connection ends with its last page', () => {
  const { opened, page } = setUp();
  const [first, second] = [page(), page()];
  first.say({ kind: 'follow', after: 'a-1' });
  second.say({ kind: 'follow', after: 'a-1' });
  first.say({ kind: 'leave' });
  expect(opened[0]?.signal.aborted).toBe(false);
  second.say({ kind: 'leave' });
  expect(opened[0]?.signal.aborted).toBe(true);
});

test('after a sleep a silent connection is made anew, where it was', async () => {
  const { opened, page, pass } = setUp();
  const one = page();
  one.say({ kind: 'follow', after: 'a-1' });
  opened[0]?.push(changed(2));
  await vi.waitUntil(() => one.ids().length === 1);
  one.say({ kind: 'wake' });
  expect(opened).toHaveLength(1);
  pass(600_000);
  one.say({ kind: 'wake' });
  expect(opened.map(({ lastEventId }) => lastEventId)).toEqual(['a-1', 'a-2']);
  opened[1]?.push(changed(3));
  await vi.waitUntil(() => one.ids().length === 2);
});

test('a refusal is told, and the next page that follows tries again', async () => {
  const { opened, page } = setUp();
  const one = page();
  one.say({ kind: 'follow', after: 'a-1' });
  const failure = {
    ok: false as const,
    status: 401,
    data: null,
    requestId: null,
    retryAfterSeconds: null,
  };
  opened[0]?.fail(new StatusError(failure));
  await vi.waitUntil(() =>
    one.told.some((message) => message.kind === 'state' && message.state === 'refused'),
  );
  expect(one.told.at(-1)).toEqual({ kind: 'state', state: 'refused', status: 401 });
  one.say({ kind: 'follow', after: 'a-7' });
  expect(opened.map(({ lastEventId }) => lastEventId)).toEqual(['a-1', 'a-7']);
});

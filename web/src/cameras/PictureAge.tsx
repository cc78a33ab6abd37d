import { formatFull } from '../format.ts';
import { freshness } from '../live/live.ts';
import type { Poller } from '../live/poller.ts';
import type { Store } from '../store.ts';
import { wordPictureTime } from './words.ts';

interface PictureAgeProps {
  store: Store;
  /** When the newest picture came, by the server's clock. */
  lastSeenAt: string;
  /** Where that is known from. */
  source: Poller<unknown>;
}

/** How old the newest picture of a camera is. */
export function PictureAge({ lastSeenAt, source, store }: PictureAgeProps) {
  const { clockOffsetMs, live } = store;
  const { receivedAtMs } = source.state.value;
  const isConnected = live.connection.value.state !== 'lost';
  const nowMs = live.nowMs.value;
  const { stale } = freshness(source.state.value, source.intervalMs, nowMs, isConnected);
  const seenMs = Date.parse(lastSeenAt);
  const text = wordPictureTime({
    seenMs,
    nowMs: nowMs + clockOffsetMs.value,
    asOfMs: stale && receivedAtMs !== undefined ? receivedAtMs + clockOffsetMs.value : undefined,
  });
  return (
    <time dateTime={lastSeenAt} title={formatFull(lastSeenAt)}>
      {text}
    </time>
  );
}

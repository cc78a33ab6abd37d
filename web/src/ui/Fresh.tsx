import { useComputed } from '@preact/signals';
import type { ComponentChildren } from 'preact';

import { formatAge } from '../format.ts';
import { type Live, freshness } from '../live/live.ts';
import type { Poller } from '../live/poller.ts';

interface AgeProps {
  live: Live;
  source: Poller<unknown>;
}

/**
 * Says how old what is shown is. Not announced to screen readers each second: they can read it when
 * they come by.
 */
export function Age({ live, source }: AgeProps) {
  const { ageMs, stale } = freshnessOf({ live, source });
  if (ageMs === undefined) return null;
  const age = formatAge(ageMs);
  return (
    <span class={stale ? 'age is-stale' : 'age'}>
      {stale ? `Not current, last answer ${age}` : `Updated ${age}`}
    </span>
  );
}

function freshnessOf({ live, source }: AgeProps) {
  const connected = live.connection.value.state !== 'lost';
  return freshness(source.state.value, source.intervalMs, live.nowMs.value, connected);
}

interface FreshProps<T> {
  live: Live;
  source: Poller<T>;
  children: (value: T) => ComponentChildren;
}

/**
 * Shows what was polled: while there is nothing yet, why; when it is stale, greyed and with the
 * reason.
 */
export function Fresh<T>({ live, source, children }: FreshProps<T>) {
  const { value, problem } = source.state.value;
  const stale = useComputed(() => freshnessOf({ live, source }).stale).value; // not drawn anew each second
  const lost = live.connection.value.state === 'lost';
  const reason = lost ? undefined : problem?.text;
  if (value === undefined) {
    if (problem === undefined && !lost) return <p class="quiet">Loading…</p>;
    return (
      <p class="quiet">
        Not available{reason === undefined ? '' : `: ${reason}`}. The page asks again by itself.
      </p>
    );
  }
  return (
    <div class={stale ? 'fresh is-stale' : 'fresh'}>
      {reason !== undefined && <p class="note">Shown as it was before: {reason}.</p>}
      {children(value)}
    </div>
  );
}

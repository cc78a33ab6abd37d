import type { ComponentChildren } from 'preact';

import { formatAge } from '../format.ts';
import { type Live, freshness } from '../live/live.ts';
import type { Poller } from '../live/poller.ts';

interface AgeProps {
  live: Live;
  source: Poller<unknown>;
}

/** Says how old what is shown is. Not announced to screen readers each second: they can read it when they come by. */
export function Age({ live, source }: AgeProps) {
  const { ageMs, stale } = useFreshness({ live, source });
  if (ageMs === undefined) return null;
  return (
    <span class={stale ? 'age is-stale' : 'age'}>
      {stale ? `Not current, last answer ${formatAge(ageMs)}` : `Updated ${formatAge(ageMs)}`}
    </span>
  );
}

function useFreshness({ live, source }: AgeProps) {
  const connected = live.connection.value.state !== 'lost';
  return freshness(source.state.value, source.intervalMs, live.nowMs.value, connected);
}

interface FreshProps<T> {
  live: Live;
  source: Poller<T>;
  children: (value: T) => ComponentChildren;
}

/** Shows what was polled: while there is nothing yet, why; when it is stale, greyed and with the reason. */
export function Fresh<T>({ live, source, children }: FreshProps<T>) {
  const { value, problem } = source.state.value;
  const { stale } = useFreshness({ live, source });
  const lost = live.connection.value.state === 'lost';
  if (value === undefined) {
    if (problem === undefined && !lost) return <p class="quiet">Loading…</p>;
    return <p class="quiet">Not available{problem && !lost ? `: ${problem.text}` : ''}. The page asks again by itself.</p>;
  }
  return (
    <div class={stale ? 'fresh is-stale' : 'fresh'}>
      {problem !== undefined && !lost && <p class="note">Shown as it was before: {problem.text}</p>}
      {children(value)}
    </div>
  );
}

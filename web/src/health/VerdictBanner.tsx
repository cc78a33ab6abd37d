import type { Stats } from '@hsi/client';
import { useEffect } from 'preact/hooks';

import { formatAge, formatClock, formatCount, formatDuration, plural } from '../format.ts';
import type { Connection } from '../live/live.ts';
import type { Store } from '../store.ts';
import { Fresh } from '../ui/Fresh.tsx';
import { LevelIcon } from '../ui/Icon.tsx';
import { type Level, type Verdict, verdictOf } from './verdict.ts';

/** The first thing to read: how the system is doing, in words. */
export function VerdictBanner({ store }: { store: Store }) {
  const { value } = store.health.state.value;
  const { level, title, sentence } = headline(
    store.live.connection.value,
    value && verdictOf(value),
  );
  const name = store.config.state.value.value?.app_name ?? 'Home Security Intelligence';
  useEffect(() => {
    document.title = level === 'good' || level === 'unknown' ? name : `${title} – ${name}`; // for those who look at another tab
  }, [level, title, name]);
  return (
    <section class={`verdict level-${level}`} aria-label="Overall">
      <div class="verdict-words" role="status">
        <LevelIcon level={level} />
        <div>
          <p class="verdict-title">{title}</p>
          <p class="verdict-sentence">{sentence}</p>
          <GivenUp store={store} />
          <LastAnswer store={store} />
        </div>
      </div>
      <Fresh live={store.live} source={store.stats}>
        {(stats) => <Totals stats={stats} />}
      </Fresh>
    </section>
  );
}

/** Pictures that were given up do not make the system ill, but somebody should know. */
function GivenUp({ store }: { store: Store }) {
  const { value } = store.deadLetters.state.value;
  if (value === undefined || value.total === 0 || store.live.connection.value.state === 'lost')
    return null;
  return (
    <p>
      <a href="#given-up">{plural(value.total, 'picture')} could not be processed</a>
    </p>
  );
}

interface Headline {
  level: Level | 'unknown';
  title: string;
  sentence: string;
}

/** What to say: without an answer nothing is known, however good the last one was. */
export function headline(connection: Connection, verdict: Verdict | undefined): Headline {
  if (connection.state === 'lost') {
    return {
      level: 'down',
      title: 'The server cannot be reached',
      sentence: `${connection.problem.text} The page tries again every few seconds.`,
    };
  }
  if (verdict === undefined)
    return { level: 'unknown', title: 'Asking the server…', sentence: 'One moment.' };
  return verdict;
}

/**
 * While the connection is lost: since when. Outside the announced words it could not be, so its
 * text changes only with the answer.
 */
function LastAnswer({ store }: { store: Store }) {
  const connection = store.live.connection.value;
  if (connection.state !== 'lost') return null;
  if (connection.lastAnswerAtMs === undefined)
    return <p class="quiet">It has not answered since this page was opened.</p>;
  return (
    <p class="quiet">
      Last answer at {formatClock(connection.lastAnswerAtMs)}
      <span aria-hidden="true">
        , {formatAge(Math.max(0, store.live.nowMs.value - connection.lastAnswerAtMs))}
      </span>
      . What is shown below is from then.
    </p>
  );
}

function Totals({ stats }: { stats: Stats }) {
  const totals: [label: string, value: string][] = [
    ['Cameras', formatCount(stats.total_cameras)],
    ['Events', formatCount(stats.total_events)],
    ['Detections', formatCount(stats.total_detections)],
    ['Running for', formatDuration(stats.uptime_seconds)],
  ];
  return (
    <dl class="totals">
      {totals.map(([label, value]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

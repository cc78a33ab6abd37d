import { useComputed, useSignalEffect } from '@preact/signals';
import { useEffect, useMemo, useRef } from 'preact/hooks';

import { CameraStrip } from '../cameras/CameraStrip.tsx';
import { FirstSteps } from '../cameras/FirstSteps.tsx';
import { everything, isFiltering } from '../events/filter.ts';
import { type Layout, sectionOf, topOf } from '../events/layout.ts';
import { total } from '../events/sums.ts';
import { formatAge, formatCount, formatHour, plural } from '../format.ts';
import type { Store } from '../store.ts';
import type { Bin } from './bins.ts';
import { DensityStrip } from './DensityStrip.tsx';
import { EventList, coveredPx } from './EventList.tsx';
import { FilterBar } from './FilterBar.tsx';
import { Toolbar } from './Toolbar.tsx';
import { Viewport } from './view.ts';

/** A page that nobody has touched for so long is a picture on the wall: it shows what comes. */
const untouchedMs = 20_000;
/** How often it looks whether nobody is there. */
const lookEachMs = 2_000;

/** What happened: the events of a span of days, the newest first. */
export function HomePage({ store }: { store: Store }) {
  const cameras = store.cameras.state.value.value;
  const shown = store.timeline.shown.value;
  useEffect(() => {
    document.title = 'What happened';
  }, []);
  const isEmpty = cameras?.count === 0 && (shown === undefined || shown.days.length === 0);
  return isEmpty ? <FirstSteps store={store} /> : <Happened store={store} />;
}

function Happened({ store }: { store: Store }) {
  const { timeline } = store;
  const viewport = useMemo(() => new Viewport(), []);
  const layout = useRef<Layout>(undefined);
  const shown = timeline.shown.value;
  const { filter, span, at } = timeline.wish.value;
  const definitions = store.severity.state.value.value?.definitions;
  const lastDay = timeline.lastDay(span);
  const sums = useComputed(() => timeline.sums(timeline.wish.value.filter)).value;
  useShowsByItself(store);

  const toTop = () => window.scrollTo({ top: 0, behavior: 'instant' });
  const go = (bin: Bin) => {
    if (layout.current === undefined || sums === undefined) return;
    const day = timeline.dayAt(bin.startsAtMs);
    const section = sectionOf(layout.current, day);
    if (section === undefined) {
      viewport.scrollTo(layout.current.height, coveredPx);
      return;
    }
    // Events of the same day that came after this bar stand before it.
    const before = sums.filter(
      ({ startsAtMs }) => startsAtMs > bin.startsAtMs && timeline.dayAt(startsAtMs) === section.day,
    );
    const index = section.day === day ? Math.min(total(before).count, section.count - 1) : 0;
    const isFirst = section.before + index === 0;
    if (isFirst) toTop();
    else if (index === 0) viewport.scrollTo(section.top, coveredPx);
    else viewport.scrollTo(topOf(layout.current, section, index), coveredPx);
  };

  return (
    <>
      <a class="skip" href="#happened">
        Skip to the events
      </a>
      <div class="home-head">
        <h1>What happened</h1>
        <Today store={store} />
      </div>
      <CameraStrip store={store} />
      <FilterBar
        filter={filter}
        cameras={store.cameras.state.value.value?.cameras ?? []}
        definitions={definitions}
        onFilter={(next) => timeline.change({ filter: next, span })}
      />
      <DensityStrip
        sums={sums ?? []}
        span={span}
        lastDay={lastDay}
        today={timeline.today()}
        nowMs={store.nowMs()}
        dayOf={(ms) => timeline.dayAt(ms)}
        definitions={definitions}
        atMs={at === undefined ? undefined : Date.parse(at)}
        onGo={go}
        onSpan={(next) => timeline.change({ filter, span: next })}
      />
      <Toolbar store={store} />
      <Problem store={store} />
      <LaterNote store={store} toTop={toTop} />
      {shown === undefined && timeline.problem.value === undefined && (
        <p class="quiet">Loading what happened…</p>
      )}
      {shown !== undefined && shown.days.length === 0 && (
        <p class="panel">
          {isFiltering(filter)
            ? 'Nothing of this kind happened in these days.'
            : `Nothing happened ${span.days === 1 ? 'on this day' : 'in these days'}.`}
        </p>
      )}
      {shown !== undefined && shown.days.length > 0 && (
        <EventList
          store={store}
          shown={shown}
          viewport={viewport}
          onLayout={(next) => (layout.current = next)}
        />
      )}
    </>
  );
}

/** How much happened today, as far as is known now. */
function Today({ store }: { store: Store }) {
  const { feed, timeline } = store;
  const sums = useComputed(() => timeline.sums(everything)).value;
  const isLost = useComputed(() => store.live.connection.value.state === 'lost').value;
  const today = timeline.today();
  if (sums === undefined || timeline.lastDay(timeline.wish.value.span) < today) return null;
  const all = total(sums.filter(({ startsAtMs }) => timeline.dayAt(startsAtMs) === today));
  const isLive = feed.state.value.state === 'open' && !isLost;
  return (
    <p class="home-today">
      <strong>
        {all.count === 0 ? 'Nothing yet today' : `${plural(all.count, 'event')} today`}
      </strong>
      {all.count > 0 &&
        (all.unreviewed === 0 ? ', all reviewed' : `, ${formatCount(all.unreviewed)} not reviewed`)}
      {!isLive && (
        <span class="age is-stale">
          {' '}
          · as of {formatHour(new Date(timeline.summedUpAtMs.value).toISOString())}
        </span>
      )}
    </p>
  );
}

/** What came since the list was read; shown when somebody wants to see it. */
function LaterNote({ store, toTop }: { store: Store; toTop: () => void }) {
  const { timeline } = store;
  const count = timeline.later.value.length;
  const show = () => {
    toTop();
    // The button goes: the focus must not be lost with it.
    document.getElementById('main')?.focus({ preventScroll: true });
    void timeline.refresh();
  };
  return (
    <div class="later" role="status">
      {count > 0 && (
        <button type="button" class="button is-primary" onClick={show}>
          {formatCount(count)} new
        </button>
      )}
    </div>
  );
}

/** Why the list is not current, with another try. */
function Problem({ store }: { store: Store }) {
  const { timeline } = store;
  const problem = timeline.problem.value;
  const readAtMs = timeline.shown.value?.readAtMs;
  return (
    <div role="status">
      {problem !== undefined && (
        <p class="callout">
          {/[.!?]$/.test(problem.text) ? problem.text : `${problem.text}.`}
          {readAtMs !== undefined &&
            ` What is shown was read ${formatAge(Math.max(0, store.live.nowMs.value - readAtMs))}.`}{' '}
          <button type="button" class="button is-small" onClick={() => void timeline.refresh()}>
            Try again
          </button>
        </p>
      )}
    </div>
  );
}

/** Left alone at its top the page shows new events by itself: a screen on the wall has no hands. */
function useShowsByItself({ timeline }: Store): void {
  const touchedAtMs = useRef(-untouchedMs);
  const isWaiting = useComputed(() => timeline.later.value.length > 0);
  useEffect(() => {
    const touch = () => (touchedAtMs.current = performance.now());
    const kinds = ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchmove'] as const;
    for (const kind of kinds) window.addEventListener(kind, touch, { passive: true });
    return () => kinds.forEach((kind) => window.removeEventListener(kind, touch));
  }, []);
  useSignalEffect(() => {
    // Not by their number: where something happens all the time nothing would ever be shown.
    if (!isWaiting.value) return undefined;
    const look = () => {
      const isAlone = performance.now() - touchedAtMs.current >= untouchedMs;
      const isChoosing = timeline.selection.ids.peek().size > 0;
      if (isAlone && !isChoosing && window.scrollY < 8) void timeline.refresh();
    };
    const timer = setInterval(look, lookEachMs);
    return () => clearInterval(timer);
  });
}

import { effect, useComputed } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { wordDay } from '../events/days.ts';
import {
  type Layout,
  type Metrics,
  type Section,
  type Stretch,
  layOut,
  placeAt,
  sectionOf,
  topOf,
} from '../events/layout.ts';
import type { Shown } from '../events/timeline.ts';
import { plural } from '../format.ts';
import type { Store } from '../store.ts';
import { EmptyCard, EventCard } from './EventCard.tsx';
import { type Viewport, drawn } from './view.ts';

/** The head of the page covers this much of what is scrolled below it, in CSS pixels. */
export const coveredPx = 76;
/** Sizes in multiples of the size of text, as seen.css has them. */
const rem = { narrowCard: 17, gap: 1, text: 6.25, head: 4, row: 7.5, phone: 40 };

interface EventListProps {
  store: Store;
  shown: Shown;
  viewport: Viewport;
  onLayout: (layout: Layout) => void;
}

/**
 * The events of all days, at full height from the start. Only what is in view is drawn; what is not
 * there yet keeps its place.
 */
export function EventList({ onLayout, shown, store, viewport }: EventListProps) {
  const { timeline } = store;
  const list = useRef<HTMLDivElement>(null);
  const [metrics, setMetrics] = useState<Metrics>();
  useLayoutEffect(() => {
    const place = list.current;
    if (place === null) return undefined;
    const measure = () => setMetrics((before) => same(before, metricsOf(place.clientWidth)));
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(place);
    return () => resized.disconnect();
  }, []);
  useLayoutEffect(
    () => (list.current === null ? undefined : viewport.run(list.current)),
    [viewport],
  );
  const layout = useMemo(
    () => (metrics === undefined ? undefined : layOut(shown.days, metrics)),
    [shown, metrics],
  );
  useLayoutEffect(() => {
    if (layout !== undefined) onLayout(layout);
  }, [layout, onLayout]);
  useLayoutEffect(() => {
    if (layout === undefined) return;
    // An address that names a moment begins there; a page that one goes back to where it was left.
    const start = timeline.startAt.peek();
    if (start === undefined) return store.router.scrollToKnown();
    timeline.startAt.value = undefined;
    const section = sectionOf(layout, start.day);
    if (section === undefined) return;
    const index = section.day === start.day ? start.index : 0;
    viewport.scrollTo(topOf(layout, section, Math.min(index, section.count - 1)), coveredPx);
  }, [layout, store.router, timeline, viewport]);

  // Not drawn anew for each pixel that is scrolled: only when other rows come into view.
  const key = useComputed(() => {
    const stretches = layout === undefined ? [] : drawn(layout, viewport.view.value);
    return stretches.map(({ section, first, end }) => `${section.day}/${first}/${end}`).join();
  });
  void key.value;
  const stretches = layout === undefined ? [] : drawn(layout, viewport.view.peek());
  const isResting = useComputed(() => viewport.view.value.isResting).value;

  useEffect(() => {
    if (layout === undefined) return undefined;
    return effect(() => {
      void timeline.revision.value;
      const view = viewport.view.value;
      if (!view.isResting) return;
      timeline.want(
        drawn(layout, view).map(({ section, first, end }) => ({ day: section.day, first, end })),
      );
      const top = view.top + coveredPx;
      const place = top <= layout.headHeight ? undefined : placeAt(layout, top);
      const row = place === undefined ? undefined : shown.rows.at(place.section.day, place.index);
      if (place === undefined || row !== undefined) timeline.rest(row?.started_at);
    });
  }, [layout, shown, timeline, viewport]);

  return (
    <div
      ref={list}
      id="happened"
      class="event-list"
      style={layout === undefined ? {} : { height: `${layout.height}px` }}
    >
      {layout !== undefined &&
        stretches.map((stretch) => (
          <DayOfEvents
            key={stretch.section.day}
            store={store}
            shown={shown}
            layout={layout}
            stretch={stretch}
            mayLoad={isResting}
          />
        ))}
    </div>
  );
}

interface DayOfEventsProps {
  store: Store;
  shown: Shown;
  layout: Layout;
  stretch: Stretch;
  mayLoad: boolean;
}

function DayOfEvents({ layout, mayLoad, shown, store, stretch }: DayOfEventsProps) {
  const { timeline } = store;
  void timeline.revision.value;
  const selected = timeline.selection.ids.value;
  const { section, first, end } = stretch;
  const places = Array.from({ length: end - first }, (_, at) => first + at);
  const width = 100 / layout.columns;
  return (
    <section class="event-day" aria-labelledby={`day-${section.day}`}>
      <DayHead store={store} shown={shown} section={section} />
      <ol class="event-cards">
        {places.map((index) => {
          const row = shown.rows.at(section.day, index);
          return (
            <li
              key={row?.id ?? `at ${index}`}
              class="event-place"
              aria-posinset={index + 1}
              aria-setsize={section.count}
              style={{
                top: `${topOf(layout, section, index)}px`,
                left: `${(index % layout.columns) * width}%`,
                width: `${width}%`,
                height: `${layout.rowHeight}px`,
              }}
            >
              {row === undefined ? (
                <EmptyCard />
              ) : (
                <EventCard
                  store={store}
                  event={row}
                  mayLoad={mayLoad}
                  isSelected={selected.has(row.id)}
                />
              )}
            </li>
          );
        })}
      </ol>
    </section>
  );
}

interface DayHeadProps {
  store: Store;
  shown: Shown;
  section: Section;
}

function DayHead({ section, shown, store }: DayHeadProps) {
  const { timeline } = store;
  const later = timeline.later.value.filter((event) => timeline.dayOf(event) === section.day);
  return (
    <div class="event-day-head" style={{ top: `${section.top}px` }}>
      <h2 id={`day-${section.day}`}>{wordDay(section.day, timeline.today())}</h2>
      <p class="quiet">
        {plural(section.count - shown.rows.goneOf(section.day), 'event')}
        {later.length > 0 && `, ${later.length} new`}
      </p>
    </div>
  );
}

/** How large things are at a width. */
export function metricsOf(width: number, textPx = rootTextPx()): Metrics {
  const gap = rem.gap * textPx;
  if (width < rem.phone * textPx)
    return { columns: 1, rowHeight: rem.row * textPx, headHeight: rem.head * textPx };
  const columns = Math.max(2, Math.floor((width + gap) / (rem.narrowCard * textPx + gap)));
  const picture = ((width / columns - gap) * 9) / 16;
  return {
    columns,
    rowHeight: Math.round(picture + rem.text * textPx + gap),
    headHeight: rem.head * textPx,
  };
}

function rootTextPx(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
}

function same(before: Metrics | undefined, now: Metrics): Metrics {
  return before !== undefined && JSON.stringify(before) === JSON.stringify(now) ? before : now;
}

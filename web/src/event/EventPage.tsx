import { type EventDetail, type Event as SeenEvent } from '@hsi/client';
import { useComputed } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo } from 'preact/hooks';

import { localZone } from '../events/days.ts';
import { wordCamera, wordEvent, wordObjects } from '../events/words.ts';
import { formatDuration, formatLatency, plural, unknown } from '../format.ts';
import type { Store } from '../store.ts';
import { Panel } from '../ui/Panel.tsx';
import { type Visited, stepsToList } from './back.ts';
import { Moment } from './Moment.tsx';
import { NoteCard } from './NoteCard.tsx';
import { type Picture, picturesOf } from './pictures.ts';
import { ReviewedSwitch } from './ReviewedSwitch.tsx';
import { type Known, type Neighbours, ViewedEvent } from './viewed.ts';
import { Small, Viewer } from './Viewer.tsx';
import { Clock, headingOf, stagesOf, wholeWayMs, wordAnalyzer, wordDistance } from './words.ts';

/** One event: what was seen, and why it was assessed so. */
export function EventPage({ store, eventId }: { store: Store; eventId: number }) {
  const { access, client, feed } = store;
  const isLost = useComputed(() => store.live.connection.value.state === 'lost');
  const viewed = useMemo(
    () => new ViewedEvent({ eventId, client, access, feed, isLost }),
    [eventId, client, access, feed, isLost],
  );
  const clock = useMemo(() => new Clock(localZone()), []);
  useEffect(() => viewed.run(), [viewed]);
  const known = viewed.known.value;
  const title = titleOf(known, eventId, clock);
  useTitle(title);
  const list = <ToList store={store} />;
  if (known.step !== 'there') {
    return (
      <div class="panel ev-message">
        <h1>{title}</h1>
        <Message store={store} viewed={viewed} known={known} eventId={eventId} />
        <p>{list}</p>
      </div>
    );
  }
  return <Shown store={store} viewed={viewed} clock={clock} known={known} list={list} />;
}

function titleOf(known: Known, eventId: number, clock: Clock): string {
  switch (known.step) {
    case 'there':
      return headingOf(known.event, clock);
    case 'gone':
      return 'This event is gone';
    case 'missing':
      return 'There is no such event';
    default:
      return `Event ${eventId}`;
  }
}

/** Names the tab, for as long as the page is shown. */
function useTitle(title: string): void {
  useEffect(() => {
    const before = document.title;
    return () => {
      document.title = before;
    };
  }, []);
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** Leads to the list, where it was left if it was left on the way here. */
function ToList({ store }: { store: Store }) {
  const root = store.router.link('');
  return (
    <a
      href={root}
      class="ev-back"
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        const { navigation } = window as { navigation?: Visited };
        const steps = stepsToList(navigation, root);
        if (steps === undefined) return;
        event.preventDefault();
        history.go(-steps);
      }}
    >
      All events
    </a>
  );
}

interface MessageProps {
  store: Store;
  viewed: ViewedEvent;
  known: Exclude<Known, { step: 'there' }>;
  eventId: number;
}

/** Says why no event is shown. */
function Message({ store, viewed, known, eventId }: MessageProps) {
  const draft = store.drafts.get(eventId);
  switch (known.step) {
    case 'loading':
      return <p class="quiet">Loading…</p>;
    case 'missing':
      return (
        <p role="status">
          No event has the number {eventId}. It may have been deleted, by retention or by hand.
        </p>
      );
    case 'gone':
      return (
        <div role="alert">
          <p>This event is gone: it was deleted, by retention or by hand.</p>
          {draft !== undefined && <p>What you typed was not saved: {draft.text}</p>}
        </div>
      );
    default:
      return (
        <>
          <p role="status">The event could not be loaded: {known.problem.text}</p>
          <div class="buttons">
            <button type="button" class="button" onClick={() => void viewed.load()}>
              Try again
            </button>
          </div>
        </>
      );
  }
}

interface ShownProps {
  store: Store;
  viewed: ViewedEvent;
  clock: Clock;
  known: Extract<Known, { step: 'there' }>;
  list: ComponentChildren;
}

function Shown({ store, viewed, clock, known, list }: ShownProps) {
  const { event, detections, isWhole } = known;
  const pictures = useMemo(() => picturesOf(detections), [detections]);
  const problem = viewed.problem.value;
  const startedAtMs = Date.parse(event.started_at);
  return (
    <article class="ev" aria-labelledby="event-title">
      <p>{list}</p>
      <header class="ev-head">
        <h1 id="event-title">
          {wordEvent(event)},{' '}
          <Moment ms={startedAtMs} clock={clock}>
            {clock.minutes(startedAtMs)}
          </Moment>
        </h1>
        <p class="lead">
          <Span store={store} clock={clock} event={event} />
          {' · '}
          <a href={store.router.link(`cameras/${encodeURIComponent(event.camera_id)}`)}>
            {wordCamera(event)}
          </a>
          {' · '}
          {counted(event, pictures, isWhole)}
        </p>
      </header>
      <div role="status">
        {problem !== undefined && (
          <p class="callout ev-stale">
            Shown as it was before: {problem.text}{' '}
            <button type="button" class="button is-small" onClick={() => void viewed.load()}>
              Try again
            </button>
          </p>
        )}
      </div>
      <div class="ev-columns">
        <Viewer store={store} clock={clock} pictures={pictures} isWhole={isWhole} />
        <div class="stack">
          <Assessment store={store} event={event} />
          <Panel id="event-review" title="Review">
            <ReviewedSwitch viewed={viewed} reviewed={event.reviewed} />
            <NoteCard store={store} viewed={viewed} eventId={event.id} saved={event.notes ?? ''} />
          </Panel>
        </div>
      </div>
      <div class="ev-columns">
        <Around store={store} viewed={viewed} clock={clock} event={event} />
        <Stages clock={clock} event={event} />
      </div>
    </article>
  );
}

function counted(event: SeenEvent, pictures: readonly Picture[], isWhole: boolean): string {
  const found = plural(event.detection_count, 'detection');
  return isWhole ? `${found} in ${plural(pictures.length, 'picture')}` : found;
}

/** When it was: "Today, 22:14:05 to 22:14:31 (26 s)". */
function Span({ store, clock, event }: { store: Store; clock: Clock; event: SeenEvent }) {
  const fromMs = Date.parse(event.started_at);
  const toMs = event.ended_at === null ? fromMs : Date.parse(event.ended_at);
  const from = clock.seconds(fromMs);
  return (
    <>
      {clock.day(fromMs, store.nowMs())},{' '}
      <Moment ms={fromMs} clock={clock}>
        {from}
      </Moment>
      {clock.seconds(toMs) !== from && toMs > fromMs && (
        <>
          {' to '}
          <Moment ms={toMs} clock={clock}>
            {clock.seconds(toMs)}
          </Moment>
          {` (${formatDuration((toMs - fromMs) / 1000)})`}
        </>
      )}
    </>
  );
}

/** How bad it is, what happened, and why it was assessed so. */
function Assessment({ store, event }: { store: Store; event: EventDetail }) {
  const definitions = store.severity.state.value.value?.definitions ?? [];
  const level = definitions.find(({ severity }) => severity === event.risk_level);
  return (
    <Panel id="event-assessment" title="Assessment">
      <div class="ev-verdict">
        <p class="ev-level">
          {level !== undefined && (
            <span class="swatch" style={{ backgroundColor: level.color }} aria-hidden="true" />
          )}
          <strong>{level?.label ?? event.risk_level ?? 'Severity not known'}</strong>
        </p>
        <p class="ev-score">
          Score <strong>{event.risk_score ?? unknown}</strong> of 100
        </p>
      </div>
      <p class="ev-summary">{event.summary ?? 'There is no summary of this event.'}</p>
      <h3>Why</h3>
      <p class="ev-reasoning">{event.reasoning ?? 'No reason is recorded.'}</p>
      <p class="hint">{wordAnalyzer(event.analyzer)}</p>
    </Panel>
  );
}

interface AroundProps {
  store: Store;
  viewed: ViewedEvent;
  clock: Clock;
  event: SeenEvent;
}

/** What happened before and after on the same camera. */
function Around({ store, viewed, clock, event }: AroundProps) {
  const neighbours = viewed.neighbours.value;
  return (
    <nav class="panel ev-around" aria-labelledby="event-around">
      <h2 id="event-around">Before and after on this camera</h2>
      <ul>
        {(['before', 'after'] as const).map((side) => (
          <li key={side}>
            <p class="hint">{side === 'before' ? 'Before' : 'After'}</p>
            <Neighbour {...{ store, clock, event, neighbours, side }} />
          </li>
        ))}
      </ul>
    </nav>
  );
}

interface NeighbourProps {
  store: Store;
  clock: Clock;
  event: SeenEvent;
  neighbours: Neighbours | undefined;
  side: 'before' | 'after';
}

function Neighbour({ store, clock, event, neighbours, side }: NeighbourProps) {
  if (neighbours === undefined) return <p class="quiet ev-neighbour">Loading…</p>;
  const other = neighbours[side];
  if (other === undefined) {
    return (
      <p class="quiet ev-neighbour">
        {side === 'before' ? 'Nothing before it.' : 'Nothing after it so far.'}
      </p>
    );
  }
  const [ms, otherMs] = [Date.parse(event.started_at), Date.parse(other.started_at)];
  const isSameDay = clock.isSameDay(ms, otherMs);
  const day = isSameDay ? '' : `${clock.day(otherMs, store.nowMs())}, `;
  return (
    <a class="ev-neighbour" href={store.router.link(`events/${other.id}`)}>
      {other.thumbnail_url !== null && (
        <Small key={other.id} src={store.router.link(`api/events/${other.id}/image?width=320`)} />
      )}
      <span>
        <strong>{wordObjects(other.object_types)}</strong>
        <span class="hint">
          {day}
          {clock.minutes(otherMs)} · {wordDistance(ms, otherMs)}
        </span>
      </span>
    </a>
  );
}

/** The way from the first picture to the event, step by step. */
function Stages({ clock, event }: { clock: Clock; event: EventDetail }) {
  const whole = wholeWayMs(event);
  return (
    <Panel
      id="event-stages"
      title="How it came about"
      lead={
        whole === undefined
          ? 'Not everything is recorded of this event.'
          : `From the first picture to the assessment it took ${formatLatency(whole)}.`
      }
    >
      <ol class="ev-stages">
        {stagesOf(event).map(({ name, atMs, distance }) => (
          <li key={name}>
            <span>{name}</span>
            <span class="hint">
              {atMs === undefined ? (
                'not recorded'
              ) : (
                <>
                  {distance !== undefined && `${distance} · `}
                  <Moment ms={atMs} clock={clock}>
                    {clock.seconds(atMs)}
                  </Moment>
                </>
              )}
            </span>
          </li>
        ))}
      </ol>
    </Panel>
  );
}

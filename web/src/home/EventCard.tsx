import type { Event as SeenEvent } from '@hsi/client';
import { useState } from 'preact/hooks';

import { wordCamera, wordEvent, wordObjects } from '../events/words.ts';
import { formatFull, formatHour } from '../format.ts';
import type { Store } from '../store.ts';
import { SeverityMark } from '../severity/SeverityMark.tsx';

interface EventCardProps {
  store: Store;
  event: SeenEvent;
  /** Pictures are loaded only where somebody looks. */
  mayLoad: boolean;
  isSelected: boolean;
}

/** One event in the list. */
export function EventCard({ event, isSelected, mayLoad, store }: EventCardProps) {
  const { router, timeline } = store;
  const time = formatHour(event.started_at);
  return (
    <article class={isSelected ? 'event-card is-selected' : 'event-card'}>
      <a class="event-link" href={router.link(`events/${event.id}`)}>
        <Picture event={event} mayLoad={mayLoad} root={router.link('')} />
        <span class="event-text">
          <span class="event-title">
            {wordObjects(event.object_types)}
            <span class="event-where"> at {wordCamera(event)}</span>
          </span>
          <span class="event-facts">
            <time dateTime={event.started_at} title={formatFull(event.started_at)}>
              {time}
            </time>
            <SeverityMark store={store} level={event.risk_level} score={event.risk_score} />
            {event.reviewed && <span class="event-reviewed">Reviewed</span>}
          </span>
          <span class="event-summary">{event.summary}</span>
        </span>
      </a>
      <label class="event-check">
        <input
          type="checkbox"
          checked={isSelected}
          aria-label={`Select ${wordEvent(event)}, ${time}`}
          onChange={({ currentTarget }) =>
            timeline.selection.choose(event.id, currentTarget.checked)
          }
        />
      </label>
    </article>
  );
}

interface PictureProps {
  event: SeenEvent;
  mayLoad: boolean;
  root: string;
}

function Picture({ event, mayLoad, root }: PictureProps) {
  const [state, setState] = useState<'waiting' | 'loading' | 'failed'>('waiting');
  if (state === 'waiting' && mayLoad && event.thumbnail_url !== null) setState('loading');
  return (
    <span class="event-picture">
      {state === 'loading' && (
        <img
          src={`${root}api/events/${event.id}/image?width=320`}
          alt=""
          decoding="async"
          draggable={false}
          onError={() => setState('failed')}
        />
      )}
      {(state === 'failed' || event.thumbnail_url === null) && (
        <span class="picture-missing">No picture</span>
      )}
    </span>
  );
}

/** Stands where an event will be, or was. */
export function EmptyCard() {
  return (
    <div class="event-card is-empty" aria-hidden="true">
      <span class="event-picture" />
      <span class="event-text" />
    </div>
  );
}

import {
  type CameraDetail,
  type Event as SeenEvent,
  StatusError,
  getCamera,
  listEvents,
} from '@hsi/client';
import { useState } from 'preact/hooks';

import { askPrivate } from '../access/private.ts';
import { wordObjects } from '../events/words.ts';
import type { Change } from '../feed/feed.ts';
import { formatCount, formatFull } from '../format.ts';
import type { Poller } from '../live/poller.ts';
import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { Status } from './CameraCard.tsx';
import { useGate, usePoller, useRefresh, useTitle } from './hooks.ts';
import { Picture } from './Picture.tsx';
import { PictureAge } from './PictureAge.tsx';
import { Rename } from './Rename.tsx';
import { Upload } from './Upload.tsx';
import { wordFates, wordMoment, wordTotal } from './words.ts';

/** How many events are listed. */
const listedEvents = 12;

/** One camera: its newest picture, what it sent, its name. */
export function CameraPage({ cameraId, store }: { store: Store; cameraId: string }) {
  /** Null: there is no such camera. */
  const camera = usePoller<CameraDetail | null>(store, 10_000, async (signal) => {
    try {
      const path = { camera_id: cameraId };
      return await askPrivate(store.access, getCamera(store.client, { path, signal }));
    } catch (error) {
      if (error instanceof StatusError && error.result.status === 404) return null;
      throw error;
    }
  });
  useRefresh(store, camera, (change) => concerns(change, cameraId));
  const known = camera.state.value.value;
  useTitle(known?.name ?? (known === null ? 'No such camera' : 'Camera'));
  if (known === null) return <NoSuchCamera store={store} cameraId={cameraId} />;
  return (
    <div class="camera-page">
      <p>
        <a href={store.router.link('cameras')}>All cameras</a>
      </p>
      <div class="camera-head">
        <h1>{known?.name ?? 'Camera'}</h1>
        <Age live={store.live} source={camera} />
      </div>
      <Fresh live={store.live} source={camera}>
        {(value) =>
          value !== null && (
            <>
              {value.last_seen_at === null && <FirstSteps camera={value} />}
              <Portrait store={store} camera={value} source={camera} />
              <Arrivals store={store} camera={value} />
            </>
          )
        }
      </Fresh>
      <Events store={store} cameraId={cameraId} name={known?.name} />
    </div>
  );
}

function concerns({ data, kind }: Change, cameraId: string): boolean {
  switch (kind) {
    case 'camera':
      return data.id === cameraId;
    case 'event':
    case 'event_changed':
      return data.camera_id === cameraId;
    default:
      return true; // whose events are gone is not told
  }
}

function NoSuchCamera({ cameraId, store }: { store: Store; cameraId: string }) {
  return (
    <div class="panel">
      <h1>No such camera</h1>
      <p>
        There is no camera <code>{cameraId}</code>, or not any more.
      </p>
      <p>
        <a href={store.router.link('cameras')}>See all cameras</a>
      </p>
    </div>
  );
}

interface PortraitProps {
  store: Store;
  camera: CameraDetail;
  source: Poller<CameraDetail | null>;
}

/** The newest picture, and what there is to say of the camera. */
function Portrait({ camera, source, store }: PortraitProps) {
  const gate = useGate();
  const createdMs = Date.parse(camera.created_at);
  return (
    <section class="panel camera-portrait" aria-label="Camera">
      <figure>
        <Picture
          store={store}
          gate={gate}
          camera={camera}
          label={`Newest picture of ${camera.name}`}
        />
        {camera.last_seen_at !== null && (
          <figcaption>
            Newest picture:{' '}
            <PictureAge store={store} lastSeenAt={camera.last_seen_at} source={source} />
          </figcaption>
        )}
      </figure>
      <div>
        <dl class="camera-facts">
          {camera.status !== null && (
            <div>
              <dt>Status</dt>
              <dd>
                <Status status={camera.status} />
              </dd>
            </div>
          )}
          <div>
            <dt>Folder</dt>
            <dd>{camera.folder_path ?? 'Outside the camera folder'}</dd>
          </div>
          <div>
            <dt>Time zone</dt>
            <dd>{camera.time_zone ?? 'The server’s'}</dd>
          </div>
          <div>
            <dt>Added</dt>
            <dd>
              <time dateTime={camera.created_at} title={formatFull(camera.created_at)}>
                {wordMoment(createdMs, store.nowMs())}
              </time>
            </dd>
          </div>
        </dl>
        <Rename
          store={store}
          camera={camera}
          onChanged={(changed) => {
            source.accept({ ...camera, ...changed });
            store.cameras.refresh();
          }}
        />
      </div>
    </section>
  );
}

/** What to do for a camera that has sent nothing yet. */
function FirstSteps({ camera }: { camera: CameraDetail }) {
  return (
    <Panel id="first-steps" title="First steps" lead="Nothing has come from this camera yet.">
      <div class="camera-upload">
        <Upload folder={camera.folder_path} />
        <p class="quiet">The first picture appears here by itself.</p>
      </div>
    </Panel>
  );
}

/** What came from a camera, and what became of it. */
function Arrivals({ camera, store }: { store: Store; camera: CameraDetail }) {
  const fates = wordFates(camera.pictures_24h);
  return (
    <Panel id="arrivals" title="The last 24 hours" lead={wordTotal(fates)}>
      {fates.length > 0 && (
        <table class="figures camera-fates">
          <caption class="visually-hidden">Pictures of the last 24 hours</caption>
          <thead>
            <tr>
              <th scope="col">What became of them</th>
              <th scope="col">Pictures</th>
            </tr>
          </thead>
          <tbody>
            {fates.map(({ count, meaning, name }) => (
              <tr key={name + meaning}>
                <th scope="row">
                  {name}
                  {meaning !== '' && <span class="camera-meaning">{meaning}</span>}
                </th>
                <td>{formatCount(count)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {fates.some(({ group }) => group === 'given up') && (
        <p class="note">
          <a href={store.router.link('system')}>See what was given up and try it again</a>
        </p>
      )}
    </Panel>
  );
}

interface EventsProps {
  store: Store;
  cameraId: string;
  name: string | undefined;
}

/** The newest events of a camera. */
function Events({ cameraId, name, store }: EventsProps) {
  const events = usePoller(store, 30_000, (signal) => {
    const query = { camera_id: [cameraId], limit: listedEvents };
    return askPrivate(store.access, listEvents(store.client, { query, signal }));
  });
  useRefresh(store, events, (change) => change.kind !== 'camera' && concerns(change, cameraId));
  const all = store.router.link(`?camera_id=${encodeURIComponent(cameraId)}`);
  return (
    <Panel
      id="camera-events"
      title="Newest events"
      aside={<Age live={store.live} source={events} />}
    >
      <Fresh live={store.live} source={events}>
        {({ events: list }) =>
          list.length === 0 ? (
            <p class="quiet">None yet.</p>
          ) : (
            <>
              <ul class="camera-events">
                {list.map((event) => (
                  <li key={event.id}>
                    <EventLink store={store} event={event} />
                  </li>
                ))}
              </ul>
              <p class="camera-all">
                <a href={all}>All events{name === undefined ? '' : ` of ${name}`}</a>
              </p>
            </>
          )
        }
      </Fresh>
    </Panel>
  );
}

function EventLink({ event, store }: { store: Store; event: SeenEvent }) {
  const [isGone, setGone] = useState(false);
  const startedMs = Date.parse(event.started_at);
  const picture = event.thumbnail_url;
  return (
    <a class="camera-event" href={store.router.link(`events/${event.id}`)}>
      <span class="camera-picture">
        {picture === null || isGone ? (
          <span class="camera-absence">No picture</span>
        ) : (
          <img
            src={store.router.link(picture.replace(/^\//, ''))}
            alt=""
            loading="lazy"
            decoding="async"
            onError={() => setGone(true)}
          />
        )}
      </span>
      <span class="camera-name">{wordObjects(event.object_types)}</span>{' '}
      <span class="camera-line">
        <span>
          <time dateTime={event.started_at} title={formatFull(event.started_at)}>
            {wordMoment(startedMs, store.nowMs())}
          </time>
          {event.risk_level !== null && ` · ${event.risk_level}`}
        </span>
      </span>
    </a>
  );
}

import type { Storage } from '@hsi/client';

import { formatAge, formatBytes, formatCount, formatMeasure } from '../format.ts';
import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { CleanupCard } from './CleanupCard.tsx';

/** What takes room, and the deleting of what is too old. */
export function StoragePanel({ store }: { store: Store }) {
  return (
    <Panel
      id="storage"
      title="Storage and retention"
      aside={<Age live={store.live} source={store.storage} />}
    >
      <Fresh live={store.live} source={store.storage}>
        {(storage) => (
          <>
            <Disk storage={storage} />
            <Files storage={storage} />
            <Records storage={storage} />
            <CountedAt store={store} timestamp={storage.timestamp} />
          </>
        )}
      </Fresh>
      <CleanupCard store={store} />
    </Panel>
  );
}

/**
 * From this share on a disk deserves attention, and from that one it will soon be full. In percent.
 */
const attention = 85;
const nearlyFull = 95;

function Disk({ storage }: { storage: Storage }) {
  const share = storage.disk_usage_percent;
  const level = share >= nearlyFull ? 'down' : share >= attention ? 'limited' : 'good';
  return (
    <div class="disk">
      <p class="disk-line">
        <strong>{formatBytes(storage.disk_free_bytes)} free</strong>
        <span>
          {formatBytes(storage.disk_used_bytes)} of {formatBytes(storage.disk_total_bytes)} used (
          {formatMeasure(share, '%')})
        </span>
      </p>
      <div class="bar" aria-hidden="true">
        <span class={`level-${level}`} style={{ width: `${share}%` }} />
      </div>
      {level !== 'good' && (
        <p class="error">
          The disk is {level === 'down' ? 'nearly full' : 'filling up'}. Keep data for fewer days,
          clean up, or make room otherwise.
        </p>
      )}
    </div>
  );
}

function Files({ storage }: { storage: Storage }) {
  const kinds: [name: string, category: Storage['images']][] = [
    ['Camera pictures', storage.images],
    ['Thumbnails', storage.thumbnails],
    ['Clips', storage.clips],
  ];
  return (
    <table class="figures">
      <caption class="visually-hidden">Files by kind</caption>
      <thead>
        <tr>
          <th scope="col">Files</th>
          <th scope="col">Number</th>
          <th scope="col">Size</th>
        </tr>
      </thead>
      <tbody>
        {kinds.map(([name, { file_count: count, size_bytes: size }]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{formatCount(count)}</td>
            <td>{formatBytes(size)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Records({ storage }: { storage: Storage }) {
  const records: [name: string, count: number][] = [
    ['Events', storage.events_count],
    ['Detections', storage.detections_count],
    ['GPU readings', storage.gpu_stats_count],
    ['Log entries', storage.logs_count],
  ];
  return (
    <dl class="pairs">
      {records.map(([name, count]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{formatCount(count)}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Files are counted in the background: the figures may be older than the answer. */
const worthSayingMs = 30_000;

function CountedAt({ store, timestamp }: { store: Store; timestamp: string }) {
  const ageMs = store.live.nowMs.value + store.clockOffsetMs.value - Date.parse(timestamp);
  if (ageMs < worthSayingMs) return null;
  return <p class="quiet">The oldest of these figures was counted {formatAge(ageMs)}.</p>;
}

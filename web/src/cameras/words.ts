import type { CameraStatus, PictureCount } from '@hsi/client';

import { formatAge, plural } from '../format.ts';

const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const date = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const dateWithYear = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
});

/** A moment where the reader is, as short as it can be: 22:14; 4 Mar, 22:14; with another year. */
export function wordMoment(ms: number, nowMs: number): string {
  const then = new Date(ms);
  const now = new Date(nowMs);
  if (then.toDateString() === now.toDateString()) return clock.format(then);
  const day = then.getFullYear() === now.getFullYear() ? date : dateWithYear;
  return `${day.format(then)}, ${clock.format(then)}`;
}

/** What is known of the time of a camera's newest picture, all in milliseconds since the epoch. */
export interface PictureTime {
  /** By the server's clock. */
  seenMs: number;
  /** The server's present. */
  nowMs: number;
  /** When this was told, by the same clock, where that may not hold any more. */
  asOfMs: number | undefined;
}

/** How old the newest picture is: "3 min ago". What may not hold any more says as of when it did. */
export function wordPictureTime({ asOfMs, nowMs, seenMs }: PictureTime): string {
  if (asOfMs !== undefined)
    return `${wordMoment(seenMs, nowMs)}, as of ${wordMoment(asOfMs, nowMs)}`;
  // The offset of the server's clock is known to a second or two.
  const ageMs = Math.max(0, nowMs - seenMs);
  return ageMs < 2_500 ? 'just now' : formatAge(ageMs);
}

/** What became of some pictures, in words. */
export interface Fate {
  group: 'events' | 'under way' | 'left out' | 'given up' | 'deleted' | 'other';
  name: string;
  /** What it means and what can be done; empty where the name says it. */
  meaning: string;
}

/** Why pictures were left out, by the reason that the ledger has for it. */
const leftOut = new Map(
  Object.entries<[name: string, meaning: string]>({
    no_detections: ['Nothing seen in it', 'Nothing moved, or the detector was not sure enough.'],
    duplicate: ['Sent twice', 'The very same picture had come shortly before.'],
    replaced: [
      'Overwritten too soon',
      'Another picture took its place before it was looked at. The new one counts by itself.',
    ],
    file_gone: ['Gone too soon', 'It was removed or renamed before it was looked at.'],
    empty_file: ['Empty file', 'Nothing was in it, and nothing came for a while.'],
    not_an_image: ['Not a picture', 'It is named like a picture, but is none.'],
    truncated: [
      'Upload broken off',
      'The end of the picture is missing, and it did not come for a while.',
    ],
    too_large: ['File too large', 'It has more bytes than a picture may have.'],
    too_many_pixels: ['Picture too large', 'It has more pixels than can be taken in.'],
    name_not_utf8: ['Name that cannot be read', 'The name of the file is not in UTF-8.'],
    symlink_outside: [
      'Link to somewhere else',
      'It leads out of the camera folder; such files are not opened.',
    ],
    video_unsupported: [
      'Video that cannot be read',
      'Install ffmpeg beside the server, and pictures are taken out of videos.',
    ],
  }),
);

/** Words what became of pictures. What it does not know it shows as it is. */
export function wordFate({ reason, state }: Pick<PictureCount, 'state' | 'reason'>): Fate {
  switch (state) {
    case 'analyzed':
      return { group: 'events', name: 'Part of an event', meaning: '' };
    case 'seen':
    case 'queued':
      return { group: 'under way', name: 'Waiting', meaning: 'The detector comes to it soon.' };
    case 'detecting':
      return { group: 'under way', name: 'Being looked at', meaning: '' };
    case 'batched':
      return {
        group: 'under way',
        name: 'Event to come',
        meaning: 'Something was seen; the event is made when nothing more comes for a while.',
      };
    case 'filtered': {
      const known = leftOut.get(reason ?? '');
      const [name, meaning] = known ?? [`Left out: ${reason ?? 'no reason is known'}`, ''];
      return { group: 'left out', name, meaning };
    }
    case 'dead_lettered':
      return {
        group: 'given up',
        name: 'Could not be processed',
        meaning: reason ?? 'No cause is known.',
      };
    case 'expired':
      return {
        group: 'deleted',
        name: 'Results deleted',
        meaning: 'They were older than results are kept.',
      };
    default:
      return {
        group: 'other',
        name: reason === null ? state : `${state}: ${reason}`,
        meaning: '',
      };
  }
}

/** Whether a camera counts as online, in words. Null: nobody asked for that. */
export function wordStatus(status: CameraStatus | null): string | undefined {
  if (status === null) return undefined;
  return status === 'online' ? 'Online' : 'Offline';
}

/** What the server says of a field, as a sentence of its own. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}

/** The name of a folder that fits the name of a camera: "Front door" is front-door. */
export function folderFor(name: string): string {
  return name
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((part) => part !== '')
    .join('-');
}

/** A line of what a camera sent: one fate, and of how many pictures. */
export type FateCount = Fate & { count: number };

const order: Fate['group'][] = ['events', 'under way', 'left out', 'given up', 'deleted', 'other'];

/** What became of pictures, line by line: what reads the same is one line. */
export function wordFates(counts: readonly PictureCount[]): FateCount[] {
  const lines = new Map<string, FateCount>();
  for (const given of counts) {
    const fate = wordFate(given);
    const key = [fate.group, fate.name, fate.meaning].join('\n');
    const line = lines.get(key) ?? { ...fate, count: 0 };
    lines.set(key, { ...line, count: line.count + given.count });
  }
  return [...lines.values()].toSorted(
    (a, b) => order.indexOf(a.group) - order.indexOf(b.group) || b.count - a.count,
  );
}

const inGroup: Record<Fate['group'], (count: number) => string> = {
  events: (count) => `${count} ${count === 1 ? 'is' : 'are'} in events`,
  'under way': (count) => `${count} ${count === 1 ? 'is' : 'are'} under way`,
  'left out': (count) => `${count} ${count === 1 ? 'was' : 'were'} left out`,
  'given up': (count) => `${count} could not be processed`,
  deleted: (count) => `the results of ${count} are deleted`,
  other: (count) => `${count} ${count === 1 ? 'stands' : 'stand'} otherwise`,
};

/** The whole of it in one sentence: "419 pictures came: 17 are in events, 402 were left out." */
export function wordTotal(fates: readonly FateCount[]): string {
  const sums = new Map<Fate['group'], number>();
  for (const { count, group } of fates) sums.set(group, (sums.get(group) ?? 0) + count);
  const total = [...sums.values()].reduce((sum, count) => sum + count, 0);
  if (total === 0) return 'Nothing came.';
  const parts = order.flatMap((group) => {
    const count = sums.get(group);
    return count === undefined ? [] : [inGroup[group](count)];
  });
  return `${plural(total, 'picture')} came: ${parts.join(', ')}.`;
}

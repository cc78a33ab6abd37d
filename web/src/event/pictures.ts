import type { Detection } from '@hsi/client';

import { wordObjects } from '../events/words.ts';
import { unknown } from '../format.ts';

/** One file of a camera with everything that was detected in it. */
export interface Picture {
  /** Names it among the pictures of the event. */
  key: string;
  takenAtMs: number;
  /** In the order of the event. */
  detections: readonly [Detection, ...Detection[]];
  /** The detection that is surest: its thumbnail stands for the picture. */
  best: Detection;
  isVideo: boolean;
  /** What boxes are measured in; undefined where nobody measured it. */
  size: { width: number; height: number } | undefined;
}

/** A box over a picture, in percent of its width and height. */
export interface Box {
  id: number;
  label: string;
  left: number;
  top: number;
  width: number;
  height: number;
}

/** Brings detections, the oldest first, together by the files that they were made in. */
export function picturesOf(detections: readonly Detection[]): Picture[] {
  const files = new Map<string, [Detection, ...Detection[]]>();
  for (const detection of detections) {
    const key = keyOf(detection);
    const known = files.get(key);
    if (known === undefined) files.set(key, [detection]);
    else known.push(detection);
  }
  return [...files]
    .map(([key, [first, ...others]]) => pictureOf(key, [first, ...others]))
    .toSorted((a, b) => a.takenAtMs - b.takenAtMs);
}

/** A camera may write each picture under the same name; a video is one file at all its times. */
function keyOf({ file_path: path, detected_at: at, media_type: type }: Detection): string {
  return type === 'video' ? path : `${at} ${path}`;
}

function pictureOf(key: string, detections: Picture['detections']): Picture {
  const [first] = detections;
  const best = detections.reduce((a, b) => ((b.confidence ?? 0) > (a.confidence ?? 0) ? b : a));
  const measured = detections.find(
    ({ picture_width: width, picture_height: height }) => (width ?? 0) > 0 && (height ?? 0) > 0,
  );
  return {
    key,
    takenAtMs: Date.parse(first.detected_at),
    detections,
    best,
    isVideo: first.media_type === 'video',
    size:
      measured === undefined
        ? undefined
        : { width: measured.picture_width ?? 0, height: measured.picture_height ?? 0 },
  };
}

/** What was detected and how sure that is: "Person 92%". */
export function labelOf({ object_type: type, confidence }: Detection): string {
  const name = wordObjects([type ?? 'something']);
  return `${name} ${confidence === null ? unknown : `${Math.round(confidence * 100)}%`}`;
}

/** The boxes of a picture, cut at its edges. None where its size is not known. */
export function boxesOf({ detections, size }: Picture): Box[] {
  if (size === undefined) return [];
  return detections.flatMap((detection) => {
    const { bbox_x: x, bbox_y: y, bbox_width: width, bbox_height: height } = detection;
    if (x === null || y === null || width === null || height === null) return [];
    const [left, right] = [clamp(x, size.width), clamp(x + width, size.width)];
    const [top, bottom] = [clamp(y, size.height), clamp(y + height, size.height)];
    if (right <= left || bottom <= top) return []; // it lies outside
    const { id } = detection;
    return [
      { id, label: labelOf(detection), left, top, width: right - left, height: bottom - top },
    ];
  });
}

function clamp(pixel: number, whole: number): number {
  return Math.min(Math.max(pixel / whole, 0), 1) * 100;
}

/** What a picture shows, each kind once: "person and dog". */
export function contentOf({ detections }: Picture): string {
  const types = new Set(detections.map(({ object_type: type }) => type ?? ''));
  return wordObjects([...types]).toLowerCase();
}

/** The place of the picture with this key; the nearest one where it is not there any more. */
export function placeOf(pictures: readonly Picture[], key: string | undefined, last: number) {
  const found = pictures.findIndex((picture) => picture.key === key);
  return found >= 0 ? found : Math.max(0, Math.min(last, pictures.length - 1));
}

/** Which picture an event opens with: the one with the surest detection. */
export function firstPlace(pictures: readonly Picture[]): number {
  const sureness = pictures.map(({ best }) => best.confidence ?? 0);
  return Math.max(0, sureness.indexOf(Math.max(...sureness)));
}

import type { Detection } from '@hsi/client';
import { expect, test } from 'vitest';

import { boxesOf, contentOf, firstPlace, labelOf, picturesOf, placeOf } from './pictures.ts';

const person: Detection = {
  id: 1,
  camera_id: 'front',
  event_id: 7,
  file_path: 'front/a.jpg',
  file_type: 'image/jpeg',
  detected_at: '2026-11-30T21:14:05Z',
  object_type: 'person',
  confidence: 0.924,
  bbox_x: 100,
  bbox_y: 50,
  bbox_width: 200,
  bbox_height: 100,
  picture_width: 1000,
  picture_height: 500,
  media_type: 'image',
  detector: 'rtdetr',
  duration: null,
  video_codec: null,
  video_width: null,
  video_height: null,
};

const only = (detection: Partial<Detection>) => {
  const [picture] = picturesOf([{ ...person, ...detection }]);
  if (picture === undefined) throw new Error('no picture');
  return picture;
};

test('detections of one file are one picture, in the order of time', () => {
  const later = { ...person, id: 2, file_path: 'front/b.jpg', detected_at: '2026-11-30T21:14:09Z' };
  const dog = { ...person, id: 3, object_type: 'dog', confidence: 0.97 };
  const pictures = picturesOf([later, person, dog]);
  expect(pictures.map(({ detections }) => detections.map(({ id }) => id))).toEqual([[1, 3], [2]]);
  expect(pictures[0]?.best.id).toBe(3);
  expect(pictures[0] && contentOf(pictures[0])).toBe('person and dog');
  expect(firstPlace(pictures)).toBe(0);
});

test('a camera that writes each picture under the same name has several; a video is one', () => {
  const later = { ...person, id: 2, detected_at: '2026-11-30T21:14:09Z' };
  expect(picturesOf([person, later])).toHaveLength(2);
  const frames = [person, later].map((frame) => ({ ...frame, media_type: 'video' }));
  expect(picturesOf(frames)).toMatchObject([{ isVideo: true }]);
});

test('boxes are percent of the picture, cut at its edges', () => {
  expect(boxesOf(only({}))).toEqual([
    { id: 1, label: 'Person 92%', left: 10, top: 10, width: 20, height: 20 },
  ]);
  expect(boxesOf(only({ bbox_x: -100, bbox_y: 450 }))).toMatchObject([
    { left: 0, top: 90, width: 10, height: 10 },
  ]);
  expect(boxesOf(only({ bbox_x: 1000 }))).toEqual([]);
});

test('what is not recorded gives no box, and is no zero', () => {
  expect(boxesOf(only({ picture_height: null }))).toEqual([]);
  expect(boxesOf(only({ bbox_width: null }))).toEqual([]);
  expect(labelOf({ ...person, object_type: null, confidence: null })).toBe('Something –');
});

test('a picture that is gone leaves its place to the one that is there now', () => {
  const pictures = picturesOf([person]);
  expect(placeOf(pictures, pictures[0]?.key, 5)).toBe(0);
  expect(placeOf(pictures, 'gone', 5)).toBe(0);
  expect(placeOf([], 'gone', 5)).toBe(0);
});

import type { EventDetail } from '@hsi/client';

/** An event for tests. */
export function anEvent(change: Partial<EventDetail> = {}): EventDetail {
  return {
    id: 7,
    camera_id: 'front_door',
    camera_name: 'Front door',
    started_at: '2026-11-30T21:14:05Z',
    ended_at: '2026-11-30T21:14:31Z',
    risk_score: 72,
    risk_level: 'high',
    summary: 'A person at the door.',
    reasoning: 'It is late.',
    analyzer: 'rules',
    reviewed: false,
    notes: null,
    detection_count: 0,
    detection_ids: [],
    object_types: ['person'],
    thumbnail_url: null,
    created_at: '2026-11-30T21:14:38Z',
    detections: [],
    detections_goes_on: false,
    stages: {
      first_picture_seen_at: '2026-11-30T21:14:05.5Z',
      last_picture_detected_at: null,
      batch_closed_at: '2026-11-30T21:14:35.5Z',
      analysis_started_at: '2026-11-30T21:14:35.5Z',
      analyzed_at: '2026-11-30T21:14:38Z',
    },
    ...change,
  };
}

import type { CleanupResult } from '@hsi/client';

/** The way of a cleanup: preview, confirmation, run, result. Nothing is deleted on another way. */
export type Cleanup =
  | { step: 'idle' }
  | { step: 'previewing' }
  | { step: 'previewed'; preview: CleanupResult; atMs: number }
  | { step: 'confirming'; preview: CleanupResult; atMs: number }
  | { step: 'running'; preview: CleanupResult }
  | { step: 'done'; result: CleanupResult }
  | { step: 'failed'; message: string };

/** What happened. */
export type CleanupEvent =
  | { type: 'preview' }
  | { type: 'previewed'; preview: CleanupResult; atMs: number }
  | { type: 'ask' }
  | { type: 'cancel' }
  | { type: 'confirm' }
  | { type: 'done'; result: CleanupResult }
  | { type: 'failed'; message: string };

/**
 * The next step. An event that does not belong to the step changes nothing: a late answer, a second
 * click.
 */
export function next(state: Cleanup, event: CleanupEvent): Cleanup {
  switch (event.type) {
    case 'preview':
      return state.step === 'running' || state.step === 'previewing'
        ? state
        : { step: 'previewing' };
    case 'previewed':
      return state.step === 'previewing' && event.preview.dry_run
        ? { step: 'previewed', preview: event.preview, atMs: event.atMs }
        : state;
    case 'ask':
      return state.step === 'previewed' && !isEmpty(state.preview)
        ? { ...state, step: 'confirming' }
        : state;
    case 'cancel':
      return state.step === 'confirming' ? { ...state, step: 'previewed' } : state;
    case 'confirm':
      return state.step === 'confirming' ? { step: 'running', preview: state.preview } : state;
    case 'done':
      return state.step === 'running' ? { step: 'done', result: event.result } : state;
    case 'failed':
      return state.step === 'running' || state.step === 'previewing'
        ? { step: 'failed', message: event.message }
        : state;
  }
}

/** What a cleanup counts, with the words of the page. */
export const counted: { key: keyof CleanupResult; one: string; many: string }[] = [
  { key: 'events_deleted', one: 'event', many: 'events' },
  { key: 'detections_deleted', one: 'detection', many: 'detections' },
  { key: 'thumbnails_deleted', one: 'thumbnail', many: 'thumbnails' },
  { key: 'images_deleted', one: 'camera picture', many: 'camera pictures' },
  { key: 'gpu_stats_deleted', one: 'GPU reading', many: 'GPU readings' },
  { key: 'logs_deleted', one: 'log entry', many: 'log entries' },
];

/** Nothing would be deleted. */
export function isEmpty(result: CleanupResult): boolean {
  return counted.every(({ key }) => result[key] === 0);
}

/** A preview holds for this long, and only for the retention period that it was made with. */
const holdsForMs = 5 * 60_000;

/** Tells whether a preview still says what a run would do. */
export function isOutdated(
  preview: CleanupResult,
  atMs: number,
  nowMs: number,
  retentionDays: number | undefined,
): boolean {
  return (
    nowMs - atMs > holdsForMs ||
    (retentionDays !== undefined && retentionDays !== preview.retention_days)
  );
}

import type { EventSummary, Severity } from '@hsi/client';

import type { Filter } from './filter.ts';

/** Events of one day or hour by severity. What has none counts under `unscored`. */
export interface Sum {
  /** When the day or hour begins, in milliseconds since the epoch. */
  startsAtMs: number;
  count: number;
  unreviewed: number;
  byLevel: Record<Severity | 'unscored', number>;
}

/** Adds up the rows of a summary that a filter lets through, by day or hour, the newest first. */
export function sumsOf({ buckets }: EventSummary, filter: Filter): Sum[] {
  const sums = new Map<string, Sum>();
  for (const { starts_at, camera_id, risk_level, events, unreviewed } of buckets) {
    const level = isSeverity(risk_level) ? risk_level : 'unscored';
    if (filter.cameraIds.length > 0 && !filter.cameraIds.includes(camera_id)) continue;
    if (filter.levels.length > 0 && !(filter.levels as string[]).includes(level)) continue;
    const count = filter.unreviewedOnly ? unreviewed : events;
    if (count === 0) continue;
    const sum = sums.get(starts_at) ?? emptySum(Date.parse(starts_at));
    sums.set(starts_at, sum);
    sum.count += count;
    sum.unreviewed += unreviewed;
    sum.byLevel[level] += count;
  }
  return [...sums.values()].toSorted((a, b) => b.startsAtMs - a.startsAtMs);
}

/** A day or hour without events. */
export function emptySum(startsAtMs: number): Sum {
  return {
    startsAtMs,
    count: 0,
    unreviewed: 0,
    byLevel: { critical: 0, high: 0, medium: 0, low: 0, unscored: 0 },
  };
}

/** The whole of several. */
export function total(sums: readonly Sum[]): Pick<Sum, 'count' | 'unreviewed'> {
  let count = 0;
  let unreviewed = 0;
  for (const sum of sums) {
    count += sum.count;
    unreviewed += sum.unreviewed;
  }
  return { count, unreviewed };
}

/** Tells whether a level is one of the contract's: other programs may have stored another text. */
export function isSeverity(level: string | null): level is Severity {
  return level === 'critical' || level === 'high' || level === 'medium' || level === 'low';
}

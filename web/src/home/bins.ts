import type { Severity } from '@hsi/client';

import { addDays } from '../events/days.ts';
import { type Sum, emptySum } from '../events/sums.ts';

/** A bar of the strip: a day or an hour. */
export interface Bin extends Sum {
  /** When the next one begins. */
  endsAtMs: number;
}

/** What a bar is made of, from its foot to its head. */
export const stack: readonly (Severity | 'unscored')[] = [
  'critical',
  'high',
  'medium',
  'low',
  'unscored',
];

/** When a day begins where the reader is. */
function startOf(day: string): number {
  return new Date(`${day}T00:00:00`).getTime();
}

const hourMs = 3_600_000;

/** All days of a span, or all of its hours, the oldest first, with or without events. */
export function binsOf(
  sums: readonly Sum[],
  lastDay: string,
  days: number,
  byHour: boolean,
): Bin[] {
  const found = new Map(sums.map((sum) => [sum.startsAtMs, sum]));
  const bins: Bin[] = [];
  const add = (startsAtMs: number, endsAtMs: number) =>
    bins.push({ ...(found.get(startsAtMs) ?? emptySum(startsAtMs)), endsAtMs });
  for (let ago = days - 1; ago >= 0; ago--) {
    const startsAtMs = startOf(addDays(lastDay, -ago));
    const endsAtMs = startOf(addDays(lastDay, 1 - ago));
    if (!byHour) add(startsAtMs, endsAtMs);
    // Days of 23 and 25 hours have as many bars.
    else for (let at = startsAtMs; at < endsAtMs; at += hourMs) add(at, at + hourMs);
  }
  return bins;
}

/** The bar that a moment belongs to; the nearest one when it lies outside. */
export function binAt(bins: readonly Bin[], ms: number): number {
  const at = bins.findIndex(({ endsAtMs }) => ms < endsAtMs);
  return at < 0 ? bins.length - 1 : at;
}

/** "41 events, 2 of them critical, 3 high". */
export function wordBin({ byLevel, count }: Sum): string {
  if (count === 0) return 'no events';
  const worse = (['critical', 'high'] as const).filter((level) => byLevel[level] > 0);
  const words = worse.map((level) => `${byLevel[level]} ${level}`).join(', ');
  const events = count === 1 ? '1 event' : `${count.toLocaleString('en')} events`;
  return words === '' ? events : `${events}, ${words}`;
}

import type { Event as SeenEvent, Severity } from '@hsi/client';

import { isSeverity } from './sums.ts';
import { hasKind } from './words.ts';

/** Which events are shown. Empty lists let everything through. */
export interface Filter {
  cameraIds: readonly string[];
  levels: readonly Severity[];
  /** Kinds of objects; `vehicle` and `animal` stand for their kinds. */
  objects: readonly string[];
  unreviewedOnly: boolean;
}

/** Which days are shown. */
export interface Span {
  /** The last day, as `2026-11-30`; undefined for today, however long the page is open. */
  lastDay: string | undefined;
  days: number;
}

/** What the address says of the home page. */
export interface Wish {
  filter: Filter;
  span: Span;
  /** When the topmost event began; undefined at the top. */
  at: string | undefined;
}

/** The severities of the contract, the worst first. */
export const levels: readonly Severity[] = ['critical', 'high', 'medium', 'low'];
/** Kinds of objects that can be asked for on the page. */
export const objectKinds: readonly string[] = ['person', 'vehicle', 'animal', 'motion'];
/** Lengths of the span that can be chosen, in days. */
export const spanDays: readonly number[] = [1, 7, 30, 90];
/** The length when nothing is chosen: as long as records are kept by default. */
export const defaultDays = 30;

export const everything: Filter = { cameraIds: [], levels: [], objects: [], unreviewedOnly: false };

/** Tells whether anything is left out. */
export function isFiltering(filter: Filter): boolean {
  const { cameraIds, levels, objects, unreviewedOnly } = filter;
  return cameraIds.length + levels.length + objects.length > 0 || unreviewedOnly;
}

/** Reads the part of an address behind its question mark. What it does not know it leaves out. */
export function readWish(query: string): Wish {
  const given = new URLSearchParams(query);
  const list = (name: string) => (given.get(name) ?? '').split(',').filter((text) => text !== '');
  const days = Number(given.get('days') ?? defaultDays);
  const last = given.get('last');
  const at = given.get('at');
  return {
    filter: {
      cameraIds: list('camera_id'),
      levels: levels.filter((level) => list('risk_level').includes(level)),
      objects: objectKinds.filter((kind) => list('object_type').includes(kind)),
      unreviewedOnly: given.get('reviewed') === 'false',
    },
    span: {
      days: spanDays.includes(days) ? days : defaultDays,
      lastDay: last !== null && isDay(last) ? last : undefined,
    },
    at: at !== null && !Number.isNaN(Date.parse(at)) ? at : undefined,
  };
}

function isDay(text: string): boolean {
  return /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(`${text}T00:00:00Z`));
}

/** The other way round: what to write behind the question mark; empty when nothing is wished. */
export function writeWish({ filter, span, at }: Wish): string {
  const given = new URLSearchParams();
  const list = (name: string, items: readonly string[]) =>
    items.length > 0 && given.set(name, items.join(','));
  list('camera_id', filter.cameraIds);
  list('risk_level', filter.levels);
  list('object_type', filter.objects);
  if (filter.unreviewedOnly) given.set('reviewed', 'false');
  if (span.days !== defaultDays) given.set('days', String(span.days));
  if (span.lastDay !== undefined) given.set('last', span.lastDay);
  if (at !== undefined) given.set('at', at);
  const text = given.toString().replaceAll('%2C', ',').replaceAll('%3A', ':');
  return text === '' ? '' : `?${text}`;
}

/** With the item if it was not in the list, without it if it was. */
export function toggled<T>(items: readonly T[], item: T): T[] {
  return items.includes(item) ? items.filter((other) => other !== item) : [...items, item];
}

/** Tells whether a filter lets an event through. */
export function fits(event: SeenEvent, filter: Filter): boolean {
  const { cameraIds, levels, objects, unreviewedOnly } = filter;
  if (unreviewedOnly && event.reviewed) return false;
  if (cameraIds.length > 0 && !cameraIds.includes(event.camera_id)) return false;
  if (levels.length > 0 && !(isSeverity(event.risk_level) && levels.includes(event.risk_level)))
    return false;
  return objects.length === 0 || objects.some((kind) => hasKind(event, kind));
}

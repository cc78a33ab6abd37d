import {
  type Client,
  type Event as SeenEvent,
  type EventSelection,
  type EventSummary,
  getEventSummary,
  listEvents,
  reviewEvents,
  unwrap,
} from '@hsi/client';

import type { Access } from '../access/access.ts';
import { askPrivate } from '../access/private.ts';
import { addDays, dayTeller } from './days.ts';
import type { Filter } from './filter.ts';
import type { DayCount } from './layout.ts';
import { sumsOf } from './sums.ts';

/** The newest events are asked for together with the sums, so that pictures come soon. */
export const firstRows = 48;
/** How far the server's lists go by offset. */
export const furthestOffset = 10_000;
/** Longer spans are summed up by the day: their hours could not be told apart. */
export const mostDaysByHour = 7;
/** How often two answers that do not fit together are asked for. */
const mostTurns = 3;

/** Days from one to another, both included. */
export interface Days {
  firstDay: string;
  lastDay: string;
}

/** Which rows of a list. */
export interface Part {
  order?: 'asc';
  offset: number;
  limit: number;
}

/** The days that end with one, so many of them. */
export function daysUntil(lastDay: string, count: number): Days {
  return { firstDay: addDays(lastDay, 1 - count), lastDay };
}

/** What the timeline asks the server. Each question fails as `askPrivate` does. */
export class Questions {
  readonly #client: Client;
  readonly #access: Access;
  readonly #timeZone: string;
  readonly #dayOf: (ms: number) => string;

  constructor(client: Client, access: Access, timeZone: string) {
    this.#client = client;
    this.#access = access;
    this.#timeZone = timeZone;
    this.#dayOf = dayTeller(timeZone);
  }

  /**
   * The newest events and how many each day has, asked at once. Something may happen between both
   * answers: then they are asked for again, so that they say the same.
   */
  async list(filter: Filter, days: Days, signal: AbortSignal) {
    for (let turn = 1; ; turn++) {
      const [page, summary] = await Promise.all([
        this.page(filter, days, { offset: 0, limit: firstRows }, signal),
        this.sums(filter, days, signal),
      ]);
      const counts = this.#countsOf(summary, filter);
      const count = counts.reduce((sum, day) => sum + day.count, 0);
      if (page.count === count || page.count_is_minimum || turn === mostTurns)
        return { page, summary, counts };
    }
  }

  /** Some rows of the list of these days. */
  async page(filter: Filter, days: Days, part: Part, signal: AbortSignal) {
    const query = { ...this.#query(filter), ...bounds(days.firstDay, days.lastDay), ...part };
    return askPrivate(this.#access, listEvents(this.#client, { signal, query }));
  }

  /** Sums of all cameras and levels, so that the page can tell what a filter leaves out. */
  async sums({ objects }: Filter, { firstDay, lastDay }: Days, signal: AbortSignal) {
    const query = {
      time_zone: this.#timeZone,
      bucket: firstDay > addDays(lastDay, -mostDaysByHour) ? ('hour' as const) : ('day' as const),
      ...bounds(firstDay, lastDay),
      ...(objects.length > 0 ? { object_type: [...objects] } : {}),
    };
    return askPrivate(this.#access, getEventSummary(this.#client, { signal, query }));
  }

  /** Where an event stands that began then: how many of its day came after it. */
  async placeOf(at: string, filter: Filter, signal: AbortSignal) {
    const day = this.#dayOf(Date.parse(at));
    const query = { ...this.#query(filter), ...bounds(at, day), limit: 1 };
    const answer = listEvents(this.#client, { signal, query });
    const { count } = await askPrivate(this.#access, answer);
    return { day, index: Math.max(0, count - 1) };
  }

  /** Marks these events reviewed; how many were not before. Throws as a write does. */
  async review(body: EventSelection): Promise<number> {
    const send = () => reviewEvents(this.#client, { body });
    return unwrap(await this.#access.send(send)).reviewed;
  }

  /** All that fit in these days, but for what came after a position. */
  matching(filter: Filter, { firstDay, lastDay }: Days, position: string): EventSelection {
    // What is reviewed already stays so: the filter for it is of no use here.
    const query = this.#query({ ...filter, unreviewedOnly: false });
    return { matching: { ...query, ...bounds(firstDay, lastDay), position } };
  }

  /** The day of an event, where the reader is. */
  dayOf({ started_at }: Pick<SeenEvent, 'started_at'>): string {
    return this.#dayOf(Date.parse(started_at));
  }

  #query({ cameraIds, levels, objects, unreviewedOnly }: Filter) {
    return {
      time_zone: this.#timeZone,
      ...(cameraIds.length > 0 ? { camera_id: [...cameraIds] } : {}),
      ...(levels.length > 0 ? { risk_level: [...levels] } : {}),
      ...(objects.length > 0 ? { object_type: [...objects] } : {}),
      ...(unreviewedOnly ? { reviewed: false } : {}),
    };
  }

  #countsOf(summary: EventSummary, filter: Filter): DayCount[] {
    const counts = new Map<string, number>();
    for (const { count, startsAtMs } of sumsOf(summary, filter)) {
      const day = this.#dayOf(startsAtMs);
      counts.set(day, (counts.get(day) ?? 0) + count);
    }
    return [...counts].map(([day, count]) => ({ day, count }));
  }
}

function bounds(from: string, until: string) {
  return { start_date: from, end_date: until };
}

import type { Event as SeenEvent } from '@hsi/client';

/** What is known of an event's place in the order of the lists: the newest first, then by id. */
type Placed = Pick<SeenEvent, 'id' | 'started_at'>;

/** How many rows are asked for at once. */
export const pageSize = 48;
/** How many rows the server gives at once. */
const mostRows = 1_000;
/** How many pages are kept: far more than a screen, far less than a month. */
const keptPages = 80;

/** Which rows of the server's list to ask for. */
export interface Ask {
  day: string;
  page: number;
  offset: number;
  limit: number;
}

/**
 * The rows of a list as it was at one moment, day by day, filled in where somebody looks. The
 * server's list goes on meanwhile: rows that came later and rows that went shift what it answers,
 * and are reckoned with, so that nothing moves on the page.
 */
export class Rows {
  readonly #days = new Map<string, Map<number, SeenEvent>>();
  /** Pages that are there, the one used last at the end. */
  readonly #pages = new Map<string, { day: string; page: number }>();
  readonly #places = new Map<number, { day: string; index: number }>();
  readonly #later = new Map<string, Placed[]>();
  readonly #gone = new Map<string, Placed[]>();

  /** The row at a place of a day; undefined while it is not there. */
  at(day: string, index: number): SeenEvent | undefined {
    return this.#days.get(day)?.get(index);
  }

  /** Where a row is; undefined when it is not there. */
  placeOf(id: number): { day: string; index: number } | undefined {
    return this.#places.get(id);
  }

  /** What to ask for so that these places are filled; empty when they are. */
  missing(day: string, first: number, end: number): Ask[] {
    const asks: Ask[] = [];
    for (let page = Math.floor(first / pageSize); page * pageSize < end; page++) {
      if (this.#touch(day, page)) continue;
      const later = this.#later.get(day)?.length ?? 0;
      const gone = this.goneOf(day);
      const offset = Math.max(0, page * pageSize - gone + this.#laterBefore(day, page * pageSize));
      const limit = page * pageSize - offset + pageSize + later;
      asks.push({ day, page, offset, limit: Math.min(limit, mostRows) });
    }
    return asks;
  }

  /** The same rows counted from the other end of a day, which had so many in this list. */
  fromEnd({ day, limit, offset }: Ask, count: number): Pick<Ask, 'offset' | 'limit'> {
    const now = count + (this.#later.get(day)?.length ?? 0) - this.goneOf(day);
    const rest = now - offset;
    return { offset: Math.max(0, rest - limit), limit: Math.max(1, Math.min(limit, rest)) };
  }

  /**
   * How many of the rows that came later certainly stand before a place: those before a row that is
   * known to stand there or before it. After a night that are nearly all of them.
   */
  #laterBefore(day: string, place: number): number {
    const later = this.#later.get(day) ?? [];
    if (later.length === 0) return 0;
    const rows = this.#days.get(day);
    let known = rows?.get(0);
    for (let index = place; known === undefined && index > place - pageSize && index > 0; index--)
      known = rows?.get(index);
    if (known === undefined) return 0;
    const row = known;
    return later.filter((other) => comesBefore(other, row)).length;
  }

  /** Takes the server's answer. */
  take({ day, offset, page }: Ask, answer: readonly SeenEvent[]): void {
    const later = this.#later.get(day) ?? [];
    const gone = this.#gone.get(day) ?? [];
    const laterIds = new Set(later.map(({ id }) => id));
    const rows = this.#days.get(day) ?? new Map<number, SeenEvent>();
    this.#days.set(day, rows);
    for (const [at, row] of answer.entries()) {
      if (laterIds.has(row.id)) continue;
      const before = later.filter((other) => comesBefore(other, row)).length;
      const missed = gone.filter((other) => comesBefore(other, row)).length;
      const index = offset + at - before + missed;
      if (Math.floor(index / pageSize) !== page) continue; // its page is asked for by itself
      rows.set(index, row);
      this.#places.set(row.id, { day, index });
    }
    this.#pages.set(`${day}/${page}`, { day, page });
    this.#forgetOldest();
  }

  /** A row came after the moment of this list. */
  addLater(day: string, row: Placed): void {
    const later = this.#later.get(day) ?? [];
    if (later.every(({ id }) => id !== row.id)) this.#later.set(day, [...later, row]);
  }

  /** A row has changed; tells whether it is one of these. */
  change(row: SeenEvent): boolean {
    const place = this.#places.get(row.id);
    if (place === undefined) return false;
    this.#days.get(place.day)?.set(place.index, row);
    return true;
  }

  /** A row is gone: its place stays, empty. Tells whether it is one of these. */
  remove(id: number): boolean {
    const place = this.#places.get(id);
    if (place === undefined) return false;
    const row = this.#days.get(place.day)?.get(place.index);
    if (row === undefined) return false;
    this.#gone.set(place.day, [...(this.#gone.get(place.day) ?? []), row]);
    this.#days.get(place.day)?.delete(place.index);
    this.#places.delete(id);
    return true;
  }

  /** How many rows of a day are gone, as far as they were told of here. */
  goneOf(day: string): number {
    return this.#gone.get(day)?.length ?? 0;
  }

  /** Tells whether a page is there, and that it is in use. */
  #touch(day: string, page: number): boolean {
    const key = `${day}/${page}`;
    const kept = this.#pages.get(key);
    if (kept === undefined) return false;
    this.#pages.delete(key);
    this.#pages.set(key, kept);
    return true;
  }

  #forgetOldest(): void {
    for (const [key, { day, page }] of this.#pages) {
      if (this.#pages.size <= keptPages) return;
      this.#pages.delete(key);
      const rows = this.#days.get(day);
      for (let index = page * pageSize; index < (page + 1) * pageSize; index++) {
        const row = rows?.get(index);
        if (row === undefined) continue;
        rows?.delete(index);
        this.#places.delete(row.id);
      }
    }
  }
}

/** The order of the lists. Moments are compared as text to the microsecond, which a number has not. */
export function comesBefore(one: Placed, other: Placed): boolean {
  const [a, b] = [instant(one.started_at), instant(other.started_at)];
  return a === b ? one.id > other.id : a > b;
}

/** A moment as text that sorts: in UTC, with six digits behind the point. */
function instant(text: string): string {
  const [, until, digits = ''] = /^(.{19})(?:\.(\d+))?Z$/.exec(text) ?? [];
  if (until === undefined) return new Date(text).toISOString().replace('Z', '000');
  return `${until}.${digits.padEnd(6, '0')}`;
}

import type { Event as SeenEvent } from '@hsi/client';

import type { Filter } from './filter.ts';
import type { DayCount } from './layout.ts';
import { type Part, type Questions, daysUntil, furthestOffset } from './questions.ts';
import type { Ask, Rows } from './rows.ts';

/** Questions for rows that are under way at once. */
const asksAtOnce = 3;

/** A list whose rows are filled in. */
export interface Filled {
  days: readonly DayCount[];
  rows: Rows;
}

/** Places of one day: from `first` to before `end`. */
export interface Places {
  day: string;
  first: number;
  end: number;
}

/** Who is told what became of the questions. */
export interface Heard {
  filled: (events: readonly SeenEvent[]) => void;
  failed: (error: unknown) => void;
}

/** Asks for the rows of a list where somebody looks, a few questions at a time. */
export class Filler {
  readonly #questions: Questions;
  readonly #heard: Heard;
  readonly #asking = new Map<string, AbortController>();

  constructor(questions: Questions, heard: Heard) {
    this.#questions = questions;
    this.#heard = heard;
  }

  /** Sees to it that these places are filled; what was asked for others is given up. */
  want(list: Filled, filter: Filter, places: readonly Places[]): void {
    const asks = places.flatMap(({ day, first, end }) => list.rows.missing(day, first, end));
    const keys = new Set(asks.map(keyOf));
    for (const [key, asking] of this.#asking) {
      if (keys.has(key)) continue;
      asking.abort();
      this.#asking.delete(key);
    }
    for (const ask of asks) {
      if (this.#asking.has(keyOf(ask))) continue;
      if (this.#asking.size >= asksAtOnce) break;
      void this.#fill(list, filter, ask);
    }
  }

  /** Gives up all questions. */
  stop(): void {
    for (const asking of this.#asking.values()) asking.abort();
    this.#asking.clear();
  }

  async #fill(list: Filled, filter: Filter, ask: Ask): Promise<void> {
    const part = partOf(list, ask);
    if (part === undefined) {
      list.rows.take(ask, []);
      return;
    }
    const asking = new AbortController();
    this.#asking.set(keyOf(ask), asking);
    try {
      const day = daysUntil(ask.day, 1);
      const { events } = await this.#questions.page(filter, day, part, asking.signal);
      if (asking.signal.aborted) return;
      list.rows.take(ask, part.order === 'asc' ? events.toReversed() : events);
      this.#asking.delete(keyOf(ask));
      this.#heard.filled(events);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.#asking.delete(keyOf(ask));
      this.#heard.failed(error);
    }
  }
}

function keyOf({ day, page }: Ask): string {
  return `${day}/${page}`;
}

/**
 * How to ask: beyond what an offset reaches the day is read from its other end. Undefined in the
 * middle of a day of more than 20,000 events, which is out of reach.
 */
function partOf({ days, rows }: Filled, ask: Ask): Part | undefined {
  if (ask.offset <= furthestOffset) return { offset: ask.offset, limit: ask.limit };
  const count = days.find(({ day }) => day === ask.day)?.count ?? 0;
  const { limit, offset } = rows.fromEnd(ask, count);
  return offset <= furthestOffset ? { order: 'asc', offset, limit } : undefined;
}

import type { Client, Event as SeenEvent, EventSummary } from '@hsi/client';
import { type ReadonlySignal, computed, effect, signal, untracked } from '@preact/signals';

import type { Access } from '../access/access.ts';
import type { Change, Feed } from '../feed/feed.ts';
import { isCovered } from '../feed/position.ts';
import { type Problem, toProblem } from '../live/problem.ts';
import type { Router } from '../router/router.ts';
import { addDays, dayTeller } from './days.ts';
import { type Filter, type Span, type Wish, fits, readWish, writeWish } from './filter.ts';
import { Filler, type Filled, type Places } from './filler.ts';
import { type Days, Questions, daysUntil, firstRows } from './questions.ts';
import { Rows, comesBefore } from './rows.ts';
import { Selection } from './selection.ts';
import { type Sum, sumsOf } from './sums.ts';

/** Changes that come together are answered with one question. */
const settleMs = 400;
/** While things keep happening the figures are asked for no more often than this. */
const sumEachMs = 2_000;
/** What was not answered is asked again by itself after this time. */
const retryMs = 5_000;
/** How often it looks whether another day has begun. */
const lookForDayMs = 10_000;

/** What is on the page: a list as it was at one moment. */
export interface Shown extends Filled {
  /** The position of the live stream at which it was read. */
  position: string;
  /** When, in milliseconds since the epoch. */
  readAtMs: number;
}

/** What the timeline needs to know and to use. */
export interface TimelineOptions {
  client: Client;
  access: Access;
  feed: Feed;
  router: Router;
  timeZone: string;
  /** The server's present, in milliseconds since the epoch. */
  nowMs: () => number;
}

/**
 * The events of a span of days. What comes while it is looked at waits in `later` until it is asked
 * for: nothing moves under the eye.
 */
export class Timeline {
  readonly wish: ReadonlySignal<Wish>;
  /** Undefined until the first answer. */
  readonly shown = signal<Shown | undefined>(undefined);
  /** Counts changes of single rows. */
  readonly revision = signal(0);
  /** Events that came after the moment of what is shown, the newest first. */
  readonly later = signal<readonly SeenEvent[]>([]);
  /** Sums of what is there now, by day; undefined until the first answer. */
  readonly summary = signal<EventSummary | undefined>(undefined);
  /** When they were added up, in milliseconds since the epoch. */
  readonly summedUpAtMs = signal(0);
  /** Why the last question was not answered. */
  readonly problem = signal<Problem | undefined>(undefined);
  readonly selection = new Selection();
  /** Where to go once the list is there: the event that the address names. */
  readonly startAt = signal<{ day: string; index: number } | undefined>(undefined);
  readonly #options: TimelineOptions;
  readonly #questions: Questions;
  readonly #dayOf: (ms: number) => string;
  #loading: AbortController | undefined;
  readonly #filler: Filler;
  #settling: ReturnType<typeof setTimeout> | undefined;
  #mustReadAnew = false;
  #retrying: ReturnType<typeof setTimeout> | undefined;
  /** The list is still to be read, and how: what comes between must not forget that. */
  #unread: { isNew: boolean } | undefined;
  /** Counts looks at the clock. */
  readonly #looks = signal(0);
  readonly #today: ReadonlySignal<string>;
  #summing: AbortController | undefined;
  #known = new Set<number>();
  /** What was told while the list was being read: part of it may not be in it. */
  #meanwhile: Change[] = [];

  constructor(options: TimelineOptions) {
    this.#options = options;
    this.#questions = new Questions(options.client, options.access, options.timeZone);
    this.#dayOf = dayTeller(options.timeZone);
    this.#filler = new Filler(this.#questions, {
      filled: (events) => this.#filled(events),
      failed: (error) => this.#failed(error),
    });
    this.wish = computed(() => readWish(options.router.query.value));
    this.#today = computed(() => {
      void this.#looks.value;
      return this.#dayOf(options.nowMs());
    });
  }

  /** The present day where the reader is. */
  today(): string {
    return this.#today.value;
  }

  /** The last day of a span. */
  lastDay(span: Span): string {
    return span.lastDay ?? this.today();
  }

  /** The sums of what is there now, by day, as filtered. */
  sums(filter: Filter): Sum[] | undefined {
    return this.summary.value === undefined ? undefined : sumsOf(this.summary.value, filter);
  }

  /** The day of a moment, where the reader is. */
  dayAt(ms: number): string {
    return this.#dayOf(ms);
  }

  /** The day of an event, where the reader is. */
  dayOf(event: Pick<SeenEvent, 'started_at'>): string {
    return this.#questions.dayOf(event);
  }

  #days(span: Span): Days {
    return daysUntil(this.lastDay(span), span.days);
  }

  /** Follows address and live stream; the function that it returns ends that. */
  run(): () => void {
    const { access, feed, router } = this.#options;
    const asked = computed(() => {
      const { filter, span } = this.wish.value;
      return JSON.stringify([filter, span]);
    });
    let wasRefused = false;
    const clock = setInterval(() => (this.#looks.value += 1), lookForDayMs);
    let day = this.#today.peek();
    const ends = [
      () => clearInterval(clock),
      effect(() => {
        // Midnight has passed, or the first answer told that this machine's clock is wrong.
        const today = this.#today.value;
        if (today === day) return;
        day = today;
        untracked(() => this.#followDay());
      }),
      feed.onChange((change) => this.#take(change)),
      effect(() => {
        void asked.value;
        void access.entries.value;
        if (router.route.value.page !== 'home') return;
        untracked(() => this.#needsLoading(asked.value) && void this.#read(true));
      }),
      effect(() => {
        const { state } = feed.state.value;
        if (state === 'open' && wasRefused) untracked(() => void this.refresh());
        wasRefused = state === 'refused' || (wasRefused && state !== 'open');
      }),
    ];
    return () => {
      ends.forEach((end) => end());
      this.#loading?.abort();
      this.#summing?.abort();
      this.#filler.stop();
      clearTimeout(this.#settling);
      clearTimeout(this.#retrying);
    };
  }

  #loadedFor = '';
  #loadedEntries = -1;

  /** Coming back to the page with the same wish finds it as it was left. */
  #needsLoading(asked: string): boolean {
    const entries = this.#options.access.entries.peek();
    const isThere = this.shown.peek() !== undefined;
    const isSame = this.#loadedFor === asked && this.#loadedEntries === entries;
    this.#loadedFor = asked;
    this.#loadedEntries = entries;
    return !isSame || !isThere;
  }

  #followDay(): void {
    if (this.shown.peek() === undefined && this.#unread === undefined) return;
    if (this.later.peek().length > 0)
      this.#sumUpSoon(); // what waits is shown when it is asked for
    else void this.refresh();
  }

  /** Reads it anew and leaves the eye where it is. */
  async refresh(): Promise<void> {
    await this.#read(this.#unread?.isNew ?? false);
  }

  /** Reads the list: a new one from its beginning, or from where the address says. */
  async #read(isNew: boolean): Promise<void> {
    this.#unread = { isNew };
    this.#loading?.abort();
    this.#summing?.abort(); // its answer would be older, or of another wish
    this.#filler.stop();
    this.#mustReadAnew = false;
    const loading = new AbortController();
    this.#loading = loading;
    this.#meanwhile = [];
    const { at, filter, span } = this.wish.peek();
    const { signal } = loading;
    try {
      const [{ counts, page, summary }, place] = await Promise.all([
        this.#questions.list(filter, this.#days(span), signal),
        isNew && at !== undefined ? this.#questions.placeOf(at, filter, signal) : undefined,
      ]);
      if (signal.aborted) return;
      const rows = new Rows();
      this.#fillFirst(rows, counts, page.events);
      this.#takeSums(summary);
      this.#known = new Set(page.events.map(({ id }) => id));
      this.later.value = [];
      this.shown.value = { days: counts, rows, position: page.position, readAtMs: Date.now() };
      this.startAt.value = place;
      this.#solved();
      if (isNew) this.selection.clear();
      this.revision.value += 1;
      this.#options.feed.follow(page.position);
      this.#loading = undefined;
      const meanwhile = this.#meanwhile.splice(0);
      for (const change of meanwhile) if (!isIn(change, this.shown.value)) this.#take(change);
    } catch (error) {
      if (signal.aborted) return;
      this.#loading = undefined;
      this.#meanwhile = [];
      this.#failed(error);
    }
  }

  #fillFirst(rows: Rows, days: Shown['days'], events: readonly SeenEvent[]): void {
    let at = 0;
    for (const { day, count } of days) {
      const ofDay = events.slice(at, at + count).filter((event) => this.dayOf(event) === day);
      // Whole pages only: the rest of a day is asked for where somebody looks.
      if (ofDay.length < Math.min(count, firstRows)) return;
      rows.take({ day, page: 0, offset: 0, limit: firstRows }, ofDay);
      at += ofDay.length;
    }
  }

  /** Sees to it that these places of the list are filled; what was asked for others is given up. */
  want(places: readonly Places[]): void {
    const shown = this.shown.peek();
    if (shown !== undefined) this.#filler.want(shown, this.wish.peek().filter, places);
  }

  #filled(events: readonly SeenEvent[]): void {
    for (const { id } of events) this.#known.add(id);
    this.#solved();
    this.revision.value += 1;
  }

  #take(change: Change): void {
    if (this.#loading !== undefined) this.#meanwhile.push(change);
    const shown = this.shown.peek();
    if (shown === undefined) return;
    switch (change.kind) {
      case 'event':
        if (!isIn(change, shown)) this.#takeNew(change.data, shown);
        break;
      case 'event_changed':
        this.later.value = this.later.value.map((event) =>
          event.id === change.data.id ? change.data : event,
        );
        if (shown.rows.change(change.data)) this.revision.value += 1;
        this.#sumUpSoon();
        break;
      case 'events_removed': {
        const ids = new Set(change.data.ids);
        this.later.value = this.later.value.filter(({ id }) => !ids.has(id));
        const found = change.data.ids.filter((id) => shown.rows.remove(id));
        if (found.length > 0) this.revision.value += 1;
        // Of the others nobody knows where they were.
        if (found.length < ids.size) this.#readAnewSoon();
        else this.#sumUpSoon();
        break;
      }
      case 'resync':
        this.#readAnewSoon();
        break;
      default:
    }
  }

  #takeNew(event: SeenEvent, shown: Shown): void {
    if (this.#known.has(event.id)) return;
    this.#known.add(event.id);
    const { filter, span } = this.wish.peek();
    const day = this.dayOf(event);
    const last = this.lastDay(span);
    this.#sumUpSoon();
    if (day > last || day <= addDays(last, -span.days) || !fits(event, filter)) return;
    shown.rows.addLater(day, event);
    this.later.value = [...this.later.value, event].toSorted((a, b) =>
      comesBefore(a, b) ? -1 : 1,
    );
  }

  /** What is shown has moved on in a way that cannot be told row by row. */
  #readAnewSoon(): void {
    this.#mustReadAnew = true;
    this.#sumUpSoon();
  }

  /**
   * Figures follow what changes; the list stays as it is. Later changes do not put it off: where
   * something happens all the time it would never be.
   */
  #sumUpSoon(): void {
    const sinceMs = Math.max(0, Date.now() - this.summedUpAtMs.peek());
    this.#settling ??= setTimeout(
      () => {
        this.#settling = undefined;
        void (this.#mustReadAnew ? this.refresh() : this.#sumUp());
      },
      Math.max(settleMs, sumEachMs - sinceMs),
    );
  }

  async #sumUp(): Promise<void> {
    const { filter, span } = this.wish.peek();
    this.#summing?.abort();
    const { signal } = (this.#summing = new AbortController());
    try {
      const summary = await this.#questions.sums(filter, this.#days(span), signal);
      if (signal.aborted) return;
      this.#takeSums(summary);
      if (this.#unread === undefined) this.#solved();
    } catch (error) {
      if (!signal.aborted) this.#failed(error);
    }
  }

  /** Says why a question was not answered, and asks again later where that may help. */
  #failed(error: unknown): void {
    const problem = toProblem(error);
    this.problem.value = problem;
    if (problem.kind === 'failed' && problem.retryAfterMs === undefined) return;
    this.#retrying ??= setTimeout(
      () => {
        this.#retrying = undefined;
        if (this.#unread !== undefined) return void this.#read(this.#unread.isNew);
        this.revision.value += 1; // the list asks for what it lacks
        return void this.#sumUp();
      },
      Math.max(retryMs, problem.retryAfterMs ?? 0),
    );
  }

  #solved(): void {
    this.problem.value = undefined;
    this.#unread = undefined;
    clearTimeout(this.#retrying);
    this.#retrying = undefined;
  }

  #takeSums(summary: EventSummary): void {
    this.summary.value = summary;
    this.summedUpAtMs.value = Date.now();
  }

  /** Writes what is wished into the address. */
  change(wish: Partial<Wish>): void {
    const query = writeWish({ ...this.wish.peek(), at: undefined, ...wish });
    this.#options.router.replaceQuery(query);
  }

  /** Scrolling rests with this event at the top; undefined at the very top of the list. */
  rest(startedAt: string | undefined): void {
    const wish = this.wish.peek();
    if (wish.at !== startedAt)
      this.#options.router.replaceQuery(writeWish({ ...wish, at: startedAt }));
  }

  /** Marks the chosen events reviewed; how many were not before. Throws as a write does. */
  async reviewSelected(): Promise<number> {
    const ids = [...this.selection.ids.peek()];
    const reviewed = await this.#questions.review({ ids });
    this.selection.clear();
    return reviewed;
  }

  /** Marks all events of the days that are shown reviewed; what came meanwhile is left. */
  async reviewAll(): Promise<number> {
    const position = this.shown.peek()?.position;
    if (position === undefined) return 0;
    const { filter, span } = this.wish.peek();
    return this.#questions.review(this.#questions.matching(filter, this.#days(span), position));
  }
}

/** Tells whether a list has a change in it: it may be told again, since other lists are older. */
function isIn({ lastEventId }: Change, { position }: Shown): boolean {
  return lastEventId !== null && isCovered(lastEventId, position);
}

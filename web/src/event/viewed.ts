import {
  type Client,
  type Detection,
  type Event as SeenEvent,
  type EventDetail,
  type EventPage,
  type EventUpdate,
  StatusError,
  getEvent,
  listEventDetections,
  listEvents,
  updateEvent,
} from '@hsi/client';
import { type ReadonlySignal, effect, signal, untracked } from '@preact/signals';

import type { Access } from '../access/access.ts';
import { failureOf, refusalOf } from '../access/outcome.ts';
import { askPrivate } from '../access/private.ts';
import type { Change, Feed } from '../feed/feed.ts';
import { type Problem, toProblem } from '../live/problem.ts';

/** What is known of the event. */
export type Known =
  | { step: 'loading' }
  | { step: 'failed'; problem: Problem }
  /** The server knows none with this id. */
  | { step: 'missing' }
  /** It was shown, and is deleted. */
  | { step: 'gone' }
  | { step: 'there'; event: EventDetail; detections: readonly Detection[]; isWhole: boolean };

/** The events of the same camera right before and after. */
export interface Neighbours {
  before: SeenEvent | undefined;
  after: SeenEvent | undefined;
}

export interface ViewedOptions {
  eventId: number;
  client: Client;
  access: Access;
  feed: Pick<Feed, 'follow' | 'onChange' | 'state'>;
  /** The server cannot be reached. */
  isLost: ReadonlySignal<boolean>;
}

/** Most rows that one question for detections brings. */
const detectionsAtOnce = 1000;
/** A flood of changes is answered by one question when it has passed. */
const settleMs = 300;

/** The event that is looked at, kept current. */
export class ViewedEvent {
  readonly known = signal<Known>({ step: 'loading' });
  /** Why the last question brought nothing, while what came before is shown. */
  readonly problem = signal<Problem | undefined>(undefined);
  readonly neighbours = signal<Neighbours | undefined>(undefined);
  readonly #options: ViewedOptions;
  #loading: AbortController | undefined;
  #settling: ReturnType<typeof setTimeout> | undefined;

  constructor(options: ViewedOptions) {
    this.#options = options;
  }

  /** Asks, and follows what changes; the function that it returns ends that. */
  run(): () => void {
    const { access, feed, isLost } = this.#options;
    let wasCut = false;
    let wasOpen = false;
    const ends = [
      feed.onChange((change) => this.#take(change)),
      effect(() => {
        void access.entries.value;
        untracked(() => void this.load());
      }),
      effect(() => {
        const isOpen = feed.state.value.state === 'open' && !isLost.value;
        if (isOpen && wasCut) untracked(() => void this.load());
        wasCut = !isOpen && (wasOpen || wasCut || isLost.value);
        wasOpen = isOpen;
      }),
    ];
    return () => {
      ends.forEach((end) => end());
      this.#loading?.abort();
      clearTimeout(this.#settling);
    };
  }

  /** Asks for everything anew. What is shown stays until the answer is there. */
  async load(): Promise<void> {
    this.#loading?.abort();
    clearTimeout(this.#settling);
    const loading = new AbortController();
    this.#loading = loading;
    const { access, client, eventId } = this.#options;
    const { signal } = loading;
    const isAsked = () => !signal.aborted;
    try {
      const event = await askPrivate(
        access,
        getEvent(client, { signal, path: { event_id: eventId } }),
      );
      if (!isAsked()) return;
      const isFirst = this.known.peek().step !== 'there';
      const isWhole = !event.detections_goes_on;
      const { detections } = event;
      if (isFirst || isWhole) this.known.value = { step: 'there', event, detections, isWhole };
      this.problem.value = undefined;
      await Promise.all([
        this.#readNeighbours(event, signal),
        isWhole ? undefined : this.#readOn(event, signal),
      ]);
      if (isAsked()) this.#loading = undefined;
    } catch (error) {
      if (isAsked()) this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#loading?.abort();
    this.#loading = undefined;
    const isThere = this.known.peek().step === 'there';
    if (error instanceof StatusError && error.result.status === 404) {
      this.known.value = {
        step: isThere || this.known.peek().step === 'gone' ? 'gone' : 'missing',
      };
    } else if (isThere) {
      this.problem.value = toProblem(error);
    } else {
      this.known.value = { step: 'failed', problem: toProblem(error) };
    }
  }

  /** Reads the detections that the event itself does not carry. */
  async #readOn(event: EventDetail, signal: AbortSignal): Promise<void> {
    const { access, client, eventId } = this.#options;
    let detections = event.detections;
    for (;;) {
      const query = { offset: detections.length, limit: detectionsAtOnce };
      const answer = listEventDetections(client, { signal, path: { event_id: eventId }, query });
      const page = await askPrivate(access, answer);
      if (signal.aborted) return;
      detections = [...detections, ...page.detections];
      if (page.detections.length < detectionsAtOnce) break;
    }
    const now = this.known.peek();
    // A change that came meanwhile is kept.
    const latest = now.step === 'there' ? { ...event, ...changeable(now.event) } : event;
    this.known.value = { step: 'there', event: latest, detections, isWhole: true };
  }

  /**
   * Both lists contain the event itself, as it is at their position: what changed between the first
   * answer and that position is not missed.
   */
  async #readNeighbours(event: SeenEvent, signal: AbortSignal): Promise<void> {
    const [before, after] = await Promise.all([
      this.#neighbour(event, 'desc', signal),
      this.#neighbour(event, 'asc', signal),
    ]);
    if (signal.aborted) return;
    this.neighbours.value = { before, after };
  }

  async #neighbour(event: SeenEvent, order: 'asc' | 'desc', signal: AbortSignal) {
    const { access, client, feed } = this.#options;
    const { started_at: startedAt } = event;
    // Bounds are inclusive: among events of the same microsecond the id tells which comes first.
    const bound = order === 'desc' ? { end_date: startedAt } : { start_date: startedAt };
    let cursor: string | null = null;
    do {
      const query = {
        ...bound,
        camera_id: [event.camera_id],
        order,
        limit: cursor === null ? 2 : 100,
        ...(cursor === null ? {} : { cursor }),
      };
      const page: EventPage = await askPrivate(access, listEvents(client, { signal, query }));
      if (signal.aborted) return undefined;
      if (cursor === null) feed.follow(page.position);
      const self = page.events.find(({ id }) => id === event.id);
      if (self !== undefined) this.#merge(self);
      const found = neighbourOf(event, page.events, order);
      if (found !== undefined) return found;
      cursor = page.next_cursor;
    } while (cursor !== null);
    return undefined;
  }

  /**
   * Changes the event. What went wrong, in words; undefined when it is done and the page shows it.
   */
  async change(body: EventUpdate): Promise<string | undefined> {
    const { access, client, eventId } = this.#options;
    try {
      const answer = await access.send(() =>
        updateEvent(client, { path: { event_id: eventId }, body }),
      );
      if (answer.status === 200) {
        this.#accept(answer.data);
        return undefined;
      }
      if (answer.status === 404) this.#forget();
      return refusalOf(answer.status, answer.data);
    } catch (error) {
      return failureOf(error);
    }
  }

  #take(change: Change): void {
    const { eventId } = this.#options;
    const now = this.known.peek();
    switch (change.kind) {
      case 'event_changed':
        if (change.data.id === eventId) this.#accept(change.data);
        else this.#replaceNeighbour(change.data);
        break;
      case 'event':
        if (now.step === 'there' && change.data.camera_id === now.event.camera_id) this.#loadSoon();
        break;
      case 'events_removed':
        if (change.data.ids.includes(eventId)) this.#forget();
        else if (change.data.ids.some((id) => this.#isNeighbour(id))) this.#loadSoon();
        break;
      case 'camera':
        if (now.step === 'there' && change.data.id === now.event.camera_id)
          if (change.data.removed || change.data.name !== now.event.camera_name) this.#loadSoon();
        break;
      case 'resync':
        this.#loadSoon();
        break;
      default:
    }
  }

  /** Takes the event as somebody changed it. */
  #accept(event: SeenEvent): void {
    const isUnderWay = this.#loading !== undefined;
    if (this.#merge(event)) this.#loadSoon();
    else if (isUnderWay) void this.load(); // what is under way may be from before the change
  }

  /** True when other detections belong to it now: they have to be asked for. */
  #merge(event: SeenEvent): boolean {
    const now = this.known.peek();
    if (now.step !== 'there') return false;
    const ids = now.event.detection_ids;
    const isOther =
      ids.length !== event.detection_ids.length ||
      event.detection_ids.some((id, index) => id !== ids[index]);
    this.known.value = { ...now, event: { ...now.event, ...event } };
    return isOther;
  }

  #replaceNeighbour(event: SeenEvent): void {
    const now = this.neighbours.peek();
    if (now === undefined || !this.#isNeighbour(event.id)) return;
    const { before, after } = now;
    this.neighbours.value = {
      before: before?.id === event.id ? event : before,
      after: after?.id === event.id ? event : after,
    };
  }

  #isNeighbour(id: number): boolean {
    const now = this.neighbours.peek();
    return now?.before?.id === id || now?.after?.id === id;
  }

  #forget(): void {
    this.#loading?.abort();
    this.#loading = undefined;
    clearTimeout(this.#settling);
    this.known.value = { step: 'gone' };
  }

  #loadSoon(): void {
    if (this.known.peek().step === 'gone') return;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => void this.load(), settleMs);
  }
}

/** What of an event can change while it is there. */
function changeable({ reviewed, notes, camera_name }: SeenEvent) {
  return { reviewed, notes, camera_name };
}

/** The first event of a list behind this one, in the direction of the list. */
export function neighbourOf(
  event: Pick<SeenEvent, 'id' | 'started_at'>,
  list: readonly SeenEvent[],
  order: 'asc' | 'desc',
): SeenEvent | undefined {
  return list.find(({ id, started_at: startedAt }) => {
    if (startedAt !== event.started_at) return true;
    return order === 'desc' ? id < event.id : id > event.id;
  });
}

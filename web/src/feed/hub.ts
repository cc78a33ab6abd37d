import { type Client, StatusError, type StreamEventsFrame, streamEvents } from '@hsi/client';

import { isCovered } from './position.ts';

/** How the hub stands to the server. */
export type HubState =
  | { state: 'connecting' }
  | { state: 'open' }
  /** The server refuses the stream with this status: another try would not change that. */
  | { state: 'refused'; status: number };

/** What a page says to its hub. */
export type ToHub =
  /** Go on right behind this position. */
  | { kind: 'follow'; after: string }
  /** The page is looked at again, perhaps after a sleep: is the connection still there? */
  | { kind: 'wake' }
  /** The page is gone, or hidden where it has a hub of its own. */
  | { kind: 'leave' };

/** What a hub says to its pages. */
export type FromHub = { kind: 'frame'; frame: StreamEventsFrame } | ({ kind: 'state' } & HubState);

/** One page that is told. */
export type Follower = (message: FromHub) => void;

/** The stream as the hub opens it. */
export type OpenStream = (options: {
  lastEventId: string | undefined;
  signal: AbortSignal;
  onReconnect: () => void;
}) => AsyncIterable<StreamEventsFrame>;

/** Frames that are kept for pages that come later. */
const keptFrames = 500;
/** The server says something each 5 s: silence for longer than this means that nobody is there. */
const longestSilenceMs = 12_000;

/** Opens the stream of a server. */
export function openStreamOf(client: Client): OpenStream {
  return (options) => streamEvents(client, { ...options, silenceMs: longestSilenceMs });
}

/**
 * Follows the live stream once for any number of pages. A page says up to where it has read the
 * lists and is told everything that came after it, each frame once. The connection lasts as long
 * as there is a page.
 */
export class Hub {
  readonly #open: OpenStream;
  readonly #now: () => number;
  readonly #followers = new Set<Follower>();
  #state: HubState = { state: 'connecting' };
  #connection: AbortController | undefined;
  #frames: (StreamEventsFrame & { lastEventId: string })[] = [];
  /** The kept frames are all that came after this position; undefined while nothing is known. */
  #keptAfter: string | undefined;
  #lastEventId: string | undefined;
  #status: StreamEventsFrame | undefined;
  #heardAtMs = 0;

  constructor(open: OpenStream, now: () => number = Date.now) {
    this.#open = open;
    this.#now = now;
  }

  /** Takes what a page says. */
  take(follower: Follower, message: ToHub): void {
    if (message.kind === 'leave') this.#leave(follower);
    else if (message.kind === 'wake') this.#wake();
    else this.#follow(follower, message.after);
  }

  #follow(follower: Follower, after: string): void {
    this.#followers.add(follower);
    if (this.#connection === undefined) {
      this.#keptAfter = after;
      this.#lastEventId = after;
      this.#frames = [];
      void this.#connect();
      return;
    }
    follower({ kind: 'state', ...this.#state });
    if (this.#status !== undefined) follower({ kind: 'frame', frame: this.#status });
    if (this.#keptAfter === undefined || !isCovered(this.#keptAfter, after)) {
      follower({
        kind: 'frame',
        frame: { kind: 'resync', data: { reason: 'expired' }, lastEventId: null },
      });
      return;
    }
    for (const frame of this.#frames)
      if (!isCovered(frame.lastEventId, after)) follower({ kind: 'frame', frame });
  }

  #leave(follower: Follower): void {
    this.#followers.delete(follower);
    if (this.#followers.size === 0) this.#disconnect();
  }

  #wake(): void {
    if (this.#followers.size === 0) return;
    const isSilent = this.#now() - this.#heardAtMs > longestSilenceMs;
    if (this.#connection !== undefined && this.#state.state === 'open' && !isSilent) return;
    this.#disconnect();
    void this.#connect();
  }

  #disconnect(): void {
    this.#connection?.abort();
    this.#connection = undefined;
    this.#status = undefined;
    this.#state = { state: 'connecting' };
  }

  async #connect(): Promise<void> {
    const connection = new AbortController();
    this.#connection = connection;
    this.#enter({ state: 'connecting' });
    const frames = this.#open({
      lastEventId: this.#lastEventId,
      signal: connection.signal,
      onReconnect: () => this.#connection === connection && this.#enter({ state: 'connecting' }),
    });
    try {
      for await (const frame of frames) {
        if (this.#connection !== connection) return;
        this.#heardAtMs = this.#now();
        if (this.#state.state !== 'open') this.#enter({ state: 'open' });
        this.#pass(frame);
      }
    } catch (error) {
      if (this.#connection !== connection) return;
      this.#connection = undefined;
      this.#enter({ state: 'refused', status: error instanceof StatusError ? error.status : 0 });
    }
  }

  #enter(state: HubState): void {
    this.#state = state;
    for (const follower of this.#followers) follower({ kind: 'state', ...state });
  }

  #pass(frame: StreamEventsFrame): void {
    if (frame.kind === 'system_status') this.#status = frame;
    if (frame.lastEventId !== null) this.#lastEventId = frame.lastEventId;
    if (frame.kind === 'resync') {
      this.#frames = [];
      this.#keptAfter = frame.lastEventId ?? undefined;
    } else if (isKept(frame)) {
      this.#frames.push(frame);
      if (this.#frames.length > keptFrames) this.#keptAfter = this.#frames.shift()?.lastEventId;
    }
    for (const follower of this.#followers) follower({ kind: 'frame', frame });
  }
}

/** Status and control frames have no place of their own in the stream. */
function isKept(frame: StreamEventsFrame): frame is StreamEventsFrame & { lastEventId: string } {
  return frame.lastEventId !== null && frame.kind !== 'system_status' && frame.kind !== 'lagged';
}

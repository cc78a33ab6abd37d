import { type ReadonlySignal, computed, effect, signal, untracked } from '@preact/signals';

import type { Polled, Poller } from './poller.ts';
import type { Problem } from './problem.ts';

/** Whether the server can be reached. */
export type Connection =
  | { state: 'connecting' }
  | { state: 'live' }
  | { state: 'lost'; problem: Problem; lastAnswerAtMs: number | undefined };

/**
 * A slow answer may make a value this much older than its interval says before it counts as stale.
 */
const slackMs = 2_000;

/**
 * Tells whether a value is too old to be taken for the present: three turns passed without an
 * answer.
 */
export function isStale(ageMs: number, intervalMs: number): boolean {
  return ageMs > 3 * intervalMs + slackMs;
}

/** How one panel stands to what it shows. */
export interface Freshness {
  /** Age of the last answer; undefined before the first. */
  ageMs: number | undefined;
  /** Shown, but not to be taken for the present. */
  stale: boolean;
}

/**
 * Judges what was polled. With the connection lost everything is stale at once: nobody knows
 * whether it still holds.
 */
export function freshness(
  polled: Polled<unknown>,
  intervalMs: number,
  nowMs: number,
  connected: boolean,
): Freshness {
  if (polled.receivedAtMs === undefined) return { ageMs: undefined, stale: false };
  const ageMs = Math.max(0, nowMs - polled.receivedAtMs); // a clock that was set back makes nothing younger than new
  return { ageMs, stale: !connected || polled.problem !== undefined || isStale(ageMs, intervalMs) };
}

/** Pollers that are asked while something of the page needs them. */
export interface Group {
  pollers: readonly Poller<unknown>[];
  isWanted: ReadonlySignal<boolean>;
}

/**
 * Runs all pollers while the page is visible. The heartbeat tells whether the server can be
 * reached; while it cannot, only the heartbeat goes on asking, and when it can again, everything is
 * asked for at once.
 */
export class Live {
  /** The time, in milliseconds since the epoch, each second while the page is visible. */
  readonly nowMs = signal(Date.now());
  readonly connection: ReadonlySignal<Connection>;
  readonly #heartbeat: Poller<unknown>;
  readonly #groups: readonly Group[];

  constructor(heartbeat: Poller<unknown>, groups: readonly Group[]) {
    this.#heartbeat = heartbeat;
    this.#groups = groups;
    this.connection = computed(() => connectionOf(heartbeat.state.value));
  }

  /** Starts; the function that it returns ends everything. */
  run(page: Document): () => void {
    const visible = signal(!page.hidden);
    const onVisibility = () => (visible.value = !page.hidden);
    page.addEventListener('visibilitychange', onVisibility);
    const isLost = computed(() => this.connection.value.state === 'lost');
    const ends = [
      effect(() => {
        if (!visible.value) return undefined;
        this.nowMs.value = Date.now();
        const ticker = setInterval(() => (this.nowMs.value = Date.now()), 1_000);
        untracked(() => this.#heartbeat.start());
        return () => {
          clearInterval(ticker);
          this.#heartbeat.stop();
        };
      }),
      ...this.#groups.map(({ isWanted, pollers }) =>
        effect(() => {
          if (!visible.value || isLost.value || !isWanted.value) return undefined;
          untracked(() => pollers.forEach((poller) => poller.start()));
          return () => pollers.forEach((poller) => poller.stop());
        }),
      ),
    ];
    return () => {
      page.removeEventListener('visibilitychange', onVisibility);
      ends.forEach((end) => end());
    };
  }
}

function connectionOf({ problem, receivedAtMs }: Polled<unknown>): Connection {
  if (problem !== undefined && problem.kind !== 'unavailable')
    return { state: 'lost', problem, lastAnswerAtMs: receivedAtMs };
  return receivedAtMs === undefined && problem === undefined
    ? { state: 'connecting' }
    : { state: 'live' };
}

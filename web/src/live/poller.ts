import { signal } from '@preact/signals';

import { type Problem, toProblem } from './problem.ts';

/** What is known of one thing that is asked for again and again. */
export interface Polled<T> {
  /** The last answer; undefined before the first. */
  value: T | undefined;
  /** When it came, in milliseconds since the epoch. */
  receivedAtMs: number | undefined;
  /** Why the last try brought none; undefined when it did. */
  problem: Problem | undefined;
}

/** Asks one question again and again while it runs. One question is under way at a time. */
export class Poller<T> {
  readonly state = signal<Polled<T>>({
    value: undefined,
    receivedAtMs: undefined,
    problem: undefined,
  });
  readonly intervalMs: number;
  readonly #load: (signal: AbortSignal) => Promise<T>;
  #underWay: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;

  /**
   * `load` asks once; `intervalMs` is the time from the start of one question to the start of the
   * next.
   */
  constructor(intervalMs: number, load: (signal: AbortSignal) => Promise<T>) {
    this.intervalMs = intervalMs;
    this.#load = load;
  }

  /** Asks now and then at each interval, until stop. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    void this.#ask();
  }

  /** Gives up the question under way and asks no more. */
  stop(): void {
    this.#running = false;
    this.#cancel();
  }

  /**
   * Asks now, instead of waiting for the next turn. What was under way is given up: it may be about
   * something else by now.
   */
  refresh(): void {
    if (!this.#running) return;
    this.#cancel();
    void this.#ask();
  }

  /**
   * Takes an answer that came another way, such as that of a write, and gives up what was asked
   * before it.
   */
  accept(value: T): void {
    this.#cancel();
    this.state.value = { value, receivedAtMs: Date.now(), problem: undefined };
    if (this.#running) this.#next(this.intervalMs);
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#underWay?.abort();
    this.#underWay = undefined;
  }

  async #ask(): Promise<void> {
    const underWay = new AbortController();
    this.#underWay = underWay;
    const startedAtMs = Date.now();
    let pauseMs = 0;
    try {
      const value = await this.#load(underWay.signal);
      if (underWay.signal.aborted) return;
      this.state.value = { value, receivedAtMs: Date.now(), problem: undefined };
    } catch (error) {
      if (underWay.signal.aborted) return;
      const problem = toProblem(error);
      pauseMs = problem.retryAfterMs ?? 0;
      this.state.value = { ...this.state.value, problem };
    }
    this.#next(Math.max(0, this.intervalMs - (Date.now() - startedAtMs), pauseMs));
  }

  #next(delayMs: number): void {
    this.#timer = setTimeout(() => void this.#ask(), delayMs);
  }
}

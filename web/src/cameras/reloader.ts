/** A picture is loaded anew at most this often. */
const pauseMs = 5_000;
/** After a failure it is tried again this much later. */
const retryMs = 15_000;

/**
 * Loads something anew when there is a newer version of it: one question at a time, not too often,
 * and only while it is looked at.
 */
export class Reloader {
  readonly #load: (signal: AbortSignal) => Promise<void>;
  #wanted: string | undefined;
  #loaded: string | undefined;
  #isActive = false;
  /** Before this moment nothing is asked. */
  #notBeforeMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #underWay: AbortController | undefined;

  /** `load` fails where another try may bring what this one did not. */
  constructor(load: (signal: AbortSignal) => Promise<void>) {
    this.#load = load;
  }

  /** Which version there is now; undefined for none. */
  want(version: string | undefined): void {
    this.#wanted = version;
    this.#plan();
  }

  /** Whether it is looked at now. What is under way when it is not any more is given up. */
  watch(isActive: boolean): void {
    this.#isActive = isActive;
    if (!isActive) this.#underWay?.abort();
    this.#plan();
  }

  #plan(): void {
    clearTimeout(this.#timer);
    if (!this.#isActive || this.#underWay !== undefined) return;
    if (this.#wanted === undefined || this.#wanted === this.#loaded) return;
    const delayMs = Math.max(0, this.#notBeforeMs - Date.now());
    if (delayMs === 0) void this.#ask(this.#wanted);
    else this.#timer = setTimeout(() => this.#plan(), delayMs);
  }

  async #ask(version: string): Promise<void> {
    const underWay = new AbortController();
    this.#underWay = underWay;
    this.#notBeforeMs = Date.now() + pauseMs;
    try {
      await this.#load(underWay.signal);
      if (!underWay.signal.aborted) this.#loaded = version;
    } catch {
      if (!underWay.signal.aborted) this.#notBeforeMs = Date.now() + retryMs;
    }
    this.#underWay = undefined;
    this.#plan();
  }
}

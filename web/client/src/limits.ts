import { ConnectionError, TimeoutError } from './errors.js';

/** What ends an exchange early: the caller's signal, or a wait that is too long. */
export interface Limits {
  /** Waits for one step of the exchange, and says in the words of this package why it failed. */
  within<T>(step: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Ends the exchange, whatever is left of it. */
  end(): void;
}

/** Limits that leave so long to each step; 0 for no limit. */
export function limit(signal: AbortSignal | undefined, timeoutMs: number): Limits {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  return {
    async within(step) {
      let isTooLate = false;
      const giveUp = () => {
        isTooLate = true;
        stop.abort();
      };
      const timer = timeoutMs > 0 ? setTimeout(giveUp, timeoutMs) : undefined;
      try {
        return await step(either);
      } catch (cause) {
        if (signal?.aborted) throw signal.reason;
        throw isTooLate ? new TimeoutError(timeoutMs, { cause }) : new ConnectionError({ cause });
      } finally {
        clearTimeout(timer);
      }
    },
    end: () => stop.abort(),
  };
}

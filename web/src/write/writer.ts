import { type ReadonlySignal, signal } from '@preact/signals';

/** A question to the person at the page: which API key? */
export interface KeyRequest {
  id: number;
  /** What the server said. */
  reason: string;
  /** Only the first answer counts. */
  answer: (key: string | undefined) => void;
}

/** Thrown by a write when the person gave no key. Nothing was changed. */
export class NoKeyError extends Error {
  override readonly name = 'NoKeyError';
}

interface Answer {
  status: number;
  data: unknown;
}

/**
 * Sends writes, and asks for the API key only when the server wants one. The key stays in memory: a
 * reload forgets it.
 */
export class Writer {
  readonly #key = signal<string | undefined>(undefined);
  readonly #request = signal<KeyRequest | undefined>(undefined);
  #requests = 0;

  /** The key that the server has accepted or is being asked with. */
  get key(): ReadonlySignal<string | undefined> {
    return this.#key;
  }

  /** The question that waits for an answer of the person. */
  get request(): ReadonlySignal<KeyRequest | undefined> {
    return this.#request;
  }

  forget(): void {
    this.#key.value = undefined;
  }

  /**
   * Sends; on 401 asks for a key and sends again, until the server takes it or the person gives up
   * (NoKeyError).
   */
  async send<R extends Answer>(call: () => Promise<R>): Promise<Exclude<R, { status: 401 }>> {
    for (;;) {
      const result = await call();
      if (!isUnauthorized(result)) return result as Exclude<R, { status: 401 }>;
      this.#key.value = undefined;
      const key = await this.#ask(reasonOf(result.data));
      if (key === undefined) throw new NoKeyError('no API key was given');
      this.#key.value = key;
    }
  }

  #ask(reason: string): Promise<string | undefined> {
    this.#request.value?.answer(undefined); // one dialog at a time: an older question is given up
    return new Promise((resolve) => {
      const request: KeyRequest = {
        id: ++this.#requests,
        reason,
        answer: (key) => {
          if (this.#request.value === request) this.#request.value = undefined;
          resolve(key === '' ? undefined : key);
        },
      };
      this.#request.value = request;
    });
  }
}

function isUnauthorized(result: Answer): boolean {
  return result.status === 401;
}

function reasonOf(body: unknown): string {
  return typeof body === 'object' && body !== null && 'detail' in body
    ? String(body.detail)
    : 'API key required';
}

import { type ReadonlySignal, signal } from '@preact/signals';

import { detailOf } from '../live/problem.ts';

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

/** What the server does for signing in and out. */
export interface SessionCalls {
  /** Trades the key for a session, whose cookie the browser keeps from scripts. */
  create(key: string): Promise<Answer>;
  end(): Promise<Answer>;
}

/** Where it is remembered that there is a session, which scripts cannot see: yes or nothing. */
export type Memory = Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>;

const remembered = 'hsi-signed-in';

/**
 * Who is at the page. A key is traded for a session at once and never kept; a write that is refused
 * asks for a key first.
 */
export class Access {
  readonly #calls: SessionCalls;
  readonly #memory: Memory | undefined;
  readonly #request = signal<KeyRequest | undefined>(undefined);
  readonly #refusal = signal<string | undefined>(undefined);
  readonly #isSignedIn;
  readonly #entries = signal(0);
  #requests = 0;

  constructor(calls: SessionCalls, memory: Memory | undefined) {
    this.#calls = calls;
    this.#memory = memory;
    this.#isSignedIn = signal(memory?.getItem(remembered) === 'yes');
  }

  /** The question that waits for an answer of the person. */
  get request(): ReadonlySignal<KeyRequest | undefined> {
    return this.#request;
  }

  /** Why what the cameras saw is not shown: what the server said; undefined while it is shown. */
  get refusal(): ReadonlySignal<string | undefined> {
    return this.#refusal;
  }

  /** There is a session, as far as the page knows. */
  get isSignedIn(): ReadonlySignal<boolean> {
    return this.#isSignedIn;
  }

  /** Counts how often somebody signed in: what was refused before may be asked for again. */
  get entries(): ReadonlySignal<number> {
    return this.#entries;
  }

  /** The server wants a key, or another one: says so on the page until somebody signs in. */
  refuse(body: unknown): void {
    this.#refusal.value = detailOf(body) ?? 'API key required.';
    this.#remember(false);
  }

  /** Trades the key for a session. What the server says against it, undefined when it took it. */
  async signIn(key: string): Promise<string | undefined> {
    const { data, status } = await this.#calls.create(key);
    if (status !== 200) return detailOf(data) ?? `The server answered with status ${status}.`;
    this.#remember(true);
    this.#refusal.value = undefined;
    this.#entries.value += 1;
    return undefined;
  }

  /** Another tab of this browser signed in, or out: the session is shared by all of them. */
  follow(): void {
    const isSignedIn = this.#memory?.getItem(remembered) === 'yes';
    if (isSignedIn === this.#isSignedIn.peek()) return;
    this.#isSignedIn.value = isSignedIn;
    if (isSignedIn) {
      this.#refusal.value = undefined;
      this.#entries.value += 1;
    } else this.#refusal.value = 'You are signed out.';
  }

  /** Ends the session, also on the server. */
  async signOut(): Promise<void> {
    await this.#calls.end();
    this.#remember(false);
    this.#refusal.value = 'You are signed out.';
  }

  /**
   * Sends; on 401 asks for a key, trades it, and sends again, until the server takes it or the
   * person gives up (NoKeyError).
   */
  async send<R extends Answer>(call: () => Promise<R>): Promise<Exclude<R, { status: 401 }>> {
    for (;;) {
      const result = await call();
      if (!isUnauthorized(result)) return result as Exclude<R, { status: 401 }>;
      await this.#enter(reasonOf(result.data));
    }
  }

  /** Asks until the server takes the key. */
  async #enter(first: string): Promise<void> {
    for (let reason: string | undefined = first; reason !== undefined;) {
      const key = await this.#ask(reason);
      if (key === undefined) throw new NoKeyError('no API key was given');
      reason = await this.signIn(key);
    }
  }

  #ask(reason: string): Promise<string | undefined> {
    // One dialog at a time: an older question is given up.
    this.#request.value?.answer(undefined);
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

  #remember(isSignedIn: boolean): void {
    this.#isSignedIn.value = isSignedIn;
    if (isSignedIn) this.#memory?.setItem(remembered, 'yes');
    else this.#memory?.removeItem(remembered);
  }
}

function isUnauthorized(result: Answer): boolean {
  return result.status === 401;
}

function reasonOf(body: unknown): string {
  return detailOf(body) ?? 'API key required';
}

import type { Client, StreamEventsFrame, SystemStatus } from '@hsi/client';
import { signal } from '@preact/signals';

import { type FromHub, Hub, type HubState, type ToHub, openStreamOf } from './hub.ts';
import { isCovered } from './position.ts';
// eslint-disable-next-line import/default -- an address that the bundler makes
import workerUrl from './hub.worker.ts?worker&url';

/** Frames that change what the lists say. */
export type Change = Exclude<StreamEventsFrame, { kind: 'system_status' | 'lagged' }>;

/** The line to a hub, which may be in another thread. */
interface Line {
  say(message: ToHub): void;
}

/** What the page needs to know of its tab. */
export type Tab = Pick<Document, 'hidden' | 'addEventListener' | 'removeEventListener'>;

/**
 * What is live on this page. All tabs of a browser share one connection where the browser has
 * shared workers; elsewhere each visible tab has its own.
 */
export class Feed {
  readonly state = signal<HubState>({ state: 'connecting' });
  /** What the server last said of itself, and when; undefined before. */
  readonly status = signal<{ status: SystemStatus; receivedAtMs: number } | undefined>(undefined);
  readonly #client: Client;
  readonly #baseUrl: string;
  readonly #listeners = new Set<(change: Change) => void>();
  #line: Line | undefined;
  #isShared = false;
  #position: string | undefined;

  constructor(client: Client, baseUrl: string) {
    this.#client = client;
    this.#baseUrl = baseUrl;
  }

  /** Calls the listener for each change; the function that it returns ends that. */
  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * What was read at this position is on the page: from now on what came after it is told. Of
   * several lists the oldest position counts, so that nothing is missed; listeners bear to be told
   * what they know.
   */
  follow(position: string): void {
    const isOlder = this.#position === undefined || isCovered(position, this.#position);
    if (!isOlder && this.state.peek().state !== 'refused') return;
    this.#position = position;
    this.#line ??= this.#connect();
    this.#line.say({ kind: 'follow', after: position });
  }

  /** Everything was read anew at this position: what came before it is of no interest any more. */
  restart(position: string): void {
    this.#position = undefined;
    this.follow(position);
  }

  /** Watches the tab; the function that it returns ends that. */
  run(tab: Tab, page: Pick<Window, 'addEventListener' | 'removeEventListener'>): () => void {
    const onVisibility = () => {
      if (!tab.hidden) this.#wake();
      else if (!this.#isShared) this.#line?.say({ kind: 'leave' });
    };
    const onHide = () => this.#line?.say({ kind: 'leave' });
    const onShow = () => this.#wake();
    tab.addEventListener('visibilitychange', onVisibility);
    page.addEventListener('pagehide', onHide);
    page.addEventListener('pageshow', onShow);
    return () => {
      tab.removeEventListener('visibilitychange', onVisibility);
      page.removeEventListener('pagehide', onHide);
      page.removeEventListener('pageshow', onShow);
      onHide();
    };
  }

  #wake(): void {
    if (this.#position === undefined) return;
    this.#line?.say({ kind: 'follow', after: this.#position });
    this.#line?.say({ kind: 'wake' });
  }

  #connect(): Line {
    return this.#connectShared() ?? this.#connectAlone();
  }

  /** A hub in a shared worker; undefined where there are none. */
  #connectShared(): Line | undefined {
    if (typeof SharedWorker === 'undefined') return undefined;
    try {
      const worker = new SharedWorker(trusted(workerUrl), { type: 'module', name: this.#baseUrl });
      worker.addEventListener('error', () => this.#withoutWorker());
      worker.port.addEventListener('message', ({ data }: MessageEvent<FromHub>) =>
        this.#take(data),
      );
      worker.port.start();
      this.#isShared = true;
      return { say: (message) => worker.port.postMessage(message) };
    } catch {
      return undefined; // refused by the browser's settings
    }
  }

  /** The worker could not be loaded: the tab helps itself. */
  #withoutWorker(): void {
    if (!this.#isShared) return;
    this.#isShared = false;
    this.#line = this.#connectAlone();
    this.#wake();
  }

  #connectAlone(): Line {
    const hub = new Hub(openStreamOf(this.#client));
    const follower = (message: FromHub) => this.#take(message);
    return { say: (message) => hub.take(follower, message) };
  }

  #take(message: FromHub): void {
    if (message.kind === 'state') {
      this.state.value = message;
      return;
    }
    const { frame } = message;
    if (frame.kind === 'lagged') return;
    if (frame.kind === 'system_status') {
      this.status.value = { status: frame.data, receivedAtMs: Date.now() };
      return;
    }
    if (frame.lastEventId !== null) this.#position = frame.lastEventId;
    for (const listener of this.#listeners) listener(frame);
  }
}

/** The one script address that the page's policy lets through as text. */
function trusted(url: string): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypesFactory };
  if (trustedTypes === undefined) return url;
  const policy = trustedTypes.createPolicy('hsi-worker', {
    createScriptURL: (text) => {
      if (text !== workerUrl) throw new TypeError('not the address of the worker');
      return text;
    },
  });
  return policy.createScriptURL(url);
}

interface TrustedTypesFactory {
  createPolicy(
    name: string,
    rules: { createScriptURL: (text: string) => string },
  ): { createScriptURL(text: string): string };
}

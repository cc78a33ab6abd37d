import { ConnectionError, TimeoutError, UnexpectedResponseError } from './errors.js';
import type { Result } from './result.js';

export type { Result } from './result.js';

/** How to reach one server. */
export interface ClientOptions {
  /** Where the server is, for example `http://127.0.0.1:8000`; a path prefix is kept. Default: the page's own origin (browsers only). */
  baseUrl?: string | undefined;
  /**
   * The API key, or a function that is asked for it before each operation that takes one. It is sent with those operations only, in the
   * `X-API-Key` header; without a key they are sent without the header.
   */
  apiKey?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /** Longest time of one call in milliseconds, the body included; 0 for no limit. Default: 30 000. */
  timeoutMs?: number | undefined;
  /** Instead of the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
}

/** What every call takes beside its own parameters. */
export interface CallOptions {
  /** Ends the call; its promise is rejected with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Instead of the client's `timeoutMs`. */
  timeoutMs?: number | undefined;
  /** Sent as `X-Request-ID`; the server keeps a sane one and writes it into its log. */
  requestId?: string | undefined;
}

/** Body, path and query of an operation as the contract describes them; the generated `...Data` types have this shape. */
interface Parameters {
  body?: unknown;
  path?: unknown;
  query?: unknown;
  url: string;
}

/** The options of one operation: its own parameters and those of every call. */
export type Options<Data extends Parameters> = Omit<Data, 'url'> & CallOptions;

/** One operation of the contract, as the generated functions describe it. */
export interface Operation {
  readonly method: string;
  /** With its parameters in braces. */
  readonly path: string;
  /** The documented statuses; every other one is an {@link UnexpectedResponseError}. */
  readonly statuses: readonly number[];
  /** The operation takes the API key. */
  readonly secured?: boolean;
}

/** A client of one server. It holds its settings and nothing else: any number of clients and calls can be used side by side. */
export interface Client {
  /** Used by the generated functions. */
  request<Responses, Errors>(operation: Operation, options?: Omit<Parameters, 'url'> & CallOptions): Promise<Result<Responses, Errors>>;
}

const defaultTimeoutMs = 30_000;

/** Makes a client. Nothing is sent before the first call. */
export function createClient(settings: ClientOptions = {}): Client {
  const baseUrl = (settings.baseUrl ?? '').replace(/\/+$/, '');
  const { apiKey, timeoutMs: clientTimeoutMs = defaultTimeoutMs } = settings;

  return Object.freeze({
    async request<Responses, Errors>(
      operation: Operation,
      options: Omit<Parameters, 'url'> & CallOptions = {},
    ): Promise<Result<Responses, Errors>> {
      const url = baseUrl + filledPath(operation.path, options.path) + queryString(options.query);
      const headers = new Headers({ Accept: 'application/json' });
      if (options.requestId !== undefined) headers.set('X-Request-ID', options.requestId);
      // no-cache: a browser's cache may answer only after it has asked the server with If-None-Match.
      const init: RequestInit = { method: operation.method, headers, cache: 'no-cache', redirect: 'error' };
      if (options.body !== undefined) {
        headers.set('Content-Type', 'application/json');
        init.body = JSON.stringify(options.body);
      }
      if (operation.secured) {
        const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
        if (key) headers.set('X-API-Key', key);
      }

      const {
        status,
        headers: responseHeaders,
        text,
      } = await exchange(settings.fetch ?? globalThis.fetch, url, init, {
        signal: options.signal,
        timeoutMs: options.timeoutMs ?? clientTimeoutMs,
      });
      const result = {
        ok: status >= 200 && status <= 299,
        status,
        data: parseBody(operation, status, responseHeaders, text),
        requestId: responseHeaders.get('X-Request-ID'),
        retryAfterSeconds: wholeSeconds(responseHeaders.get('Retry-After')),
      };
      // The one place where a type is asserted: the status is a documented one, and the server's tests check each of its answers
      // against the contract.
      return result as Result<Responses, Errors>;
    },
  });
}

interface Limits {
  signal: AbortSignal | undefined;
  timeoutMs: number;
}

/** Sends and reads the whole answer within the limits. */
async function exchange(send: typeof globalThis.fetch, url: string, init: RequestInit, { signal, timeoutMs }: Limits) {
  const timeout = timeoutMs > 0 ? AbortSignal.timeout(timeoutMs) : undefined;
  const signals = [signal, timeout].filter((s) => s !== undefined);
  try {
    const response = await send(url, { ...init, signal: AbortSignal.any(signals) });
    return { status: response.status, headers: response.headers, text: await response.text() };
  } catch (cause) {
    if (signal?.aborted) throw signal.reason;
    if (timeout?.aborted) throw new TimeoutError(timeoutMs, { cause });
    throw new ConnectionError({ cause });
  }
}

/**
 * The path with its parameters in it. What would be another path is refused: nothing, and the names of this folder and the one above, which
 * `fetch` resolves even where they are percent-encoded.
 */
function filledPath(template: string, parameters: unknown): string {
  const values = new Map<string, unknown>(Object.entries(parameters ?? {}));
  return template.replace(/\{([^}]+)\}/g, (_, name: string) => {
    const value = String(values.get(name) ?? '');
    if (value === '' || value === '.' || value === '..') throw new TypeError(`path parameter ${name} must not be '${value}'`);
    return encodeURIComponent(value);
  });
}

/** The query; what is undefined or null is left out, a list is joined with commas, and a plus becomes %2B. */
function queryString(parameters: unknown): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries((parameters ?? {}) as Record<string, unknown>)) {
    if (Array.isArray(value)) query.append(name, commaList(name, value));
    else if (value !== undefined && value !== null) query.append(name, String(value));
  }
  return query.size > 0 ? `?${query.toString()}` : '';
}

/** An empty list is sent as such and refused by the server: left out it would mean everything. */
function commaList(name: string, items: readonly unknown[]): string {
  const texts = items.map(String);
  if (texts.some((text) => text.includes(','))) throw new TypeError(`query parameter ${name}: an item must not contain a comma`);
  return texts.join(',');
}

function parseBody(operation: Operation, status: number, headers: Headers, text: string): unknown {
  const unexpected = (why: string, cause?: unknown) =>
    new UnexpectedResponseError(`${operation.method} ${operation.path}: ${why}`, { status, body: text, cause });

  if (!operation.statuses.includes(status)) throw unexpected(`status ${String(status)} is not documented`);
  if (status === 204) return undefined;
  const mediaType = (headers.get('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (mediaType !== 'application/json')
    throw unexpected(`the answer is ${mediaType === '' ? 'untyped' : String(mediaType)}, not application/json`);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw unexpected('the answer is not JSON', cause);
  }
}

function wholeSeconds(value: string | null): number | null {
  return value !== null && /^[0-9]+$/.test(value) ? Number(value) : null;
}

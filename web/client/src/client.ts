/** How to reach one server. */
export interface ClientOptions {
  /**
   * Where the server is, for example `http://127.0.0.1:8000`; a path prefix is kept. Default: the
   * page's own origin (browsers only).
   */
  baseUrl?: string | undefined;
  /**
   * The API key, or a function that is asked for it before each operation that takes one. It is
   * sent with those operations only, in the `X-API-Key` header; without a key they are sent without
   * the header. A page that has a session needs none: the browser sends the session's cookie by
   * itself, to the page's own origin only.
   */
  apiKey?: string | (() => string | undefined | Promise<string | undefined>) | undefined;
  /**
   * Longest time of one call in milliseconds, the body included; of a file, between two pieces of
   * it; 0 for no limit. Default: 30 000.
   */
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

/**
 * Body, path and query of an operation as the contract describes them; the generated `...Data`
 * types have this shape.
 */
export interface Parameters {
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

/** What one request is made of. */
export interface Message extends Omit<Parameters, 'url'> {
  accept: string;
  cache: RequestCache;
  headers: Record<string, string | undefined>;
}

/**
 * A client of one server. It holds its settings and nothing else: any number of clients and calls
 * can be used side by side.
 */
export interface Client {
  /**
   * Used by the generated functions: makes a request, and gives a function that sends it and hands
   * over the answer as soon as it begins. What cannot be sent is refused here.
   */
  prepare(
    operation: Operation,
    message: Message,
  ): Promise<(signal: AbortSignal) => Promise<Response>>;
  /** The limit of a call that says nothing else. */
  readonly timeoutMs: number;
}

const defaultTimeoutMs = 30_000;

/** Makes a client. Nothing is sent before the first call. */
export function createClient(settings: ClientOptions = {}): Client {
  const baseUrl = (settings.baseUrl ?? '').replace(/\/+$/, '');
  const { apiKey, timeoutMs = defaultTimeoutMs } = settings;

  return Object.freeze({
    timeoutMs,
    async prepare(
      operation: Operation,
      { accept, body, cache, headers: own, path, query }: Message,
    ) {
      const url = baseUrl + filledPath(operation.path, path) + queryString(query);
      const headers = new Headers({ Accept: accept });
      for (const [name, value] of Object.entries(own))
        if (value !== undefined) headers.set(name, value);
      // same-origin: the cookie of a session goes to the page's own server, and none to another.
      const init: RequestInit = {
        method: operation.method,
        headers,
        cache,
        redirect: 'error',
        credentials: 'same-origin',
      };
      if (body !== undefined) {
        headers.set('Content-Type', 'application/json');
        init.body = JSON.stringify(body);
      }
      if (operation.secured) {
        const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
        if (key) headers.set('X-API-Key', key);
      }
      const send = settings.fetch ?? globalThis.fetch;
      return (signal: AbortSignal) => send(url, { ...init, signal });
    },
  });
}

/**
 * The path with its parameters in it. What would be another path is refused: nothing, and the names
 * of this folder and the one above, which `fetch` resolves even where they are percent-encoded.
 */
function filledPath(template: string, parameters: unknown): string {
  const values = new Map<string, unknown>(Object.entries(parameters ?? {}));
  return template.replace(/\{([^}]+)\}/g, (_, name: string) => {
    const value = String(values.get(name) ?? '');
    if (value === '' || value === '.' || value === '..')
      throw new TypeError(`path parameter ${name} must not be '${value}'`);
    return encodeURIComponent(value);
  });
}

/**
 * The query; what is undefined or null is left out, a list is joined with commas, and a plus
 * becomes %2B.
 */
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
  if (texts.some((text) => text.includes(',')))
    throw new TypeError(`query parameter ${name}: an item must not contain a comma`);
  return texts.join(',');
}

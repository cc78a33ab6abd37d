import type { CallOptions, Client, Operation } from './client.js';
import { ConnectionError, StatusError, TimeoutError, UnexpectedResponseError } from './errors.js';
import { EventParser, type ServerSentEvent } from './event-parser.js';
import { limit } from './limits.js';
import { answer, expectType, jsonOf } from './request.js';
import type { Failure } from './result.js';

/** The options of a stream. */
export interface StreamOptions extends Pick<CallOptions, 'requestId'> {
  /**
   * Goes on right behind this position, the `lastEventId` of a frame. Default: what comes from now
   * on.
   */
  lastEventId?: string | undefined;
  /** Ends the stream: the loop over it is done. */
  signal?: AbortSignal | undefined;
  /**
   * How long a connection may be silent before another one is made. The server says something every
   * 15 s. Default: 45 000.
   */
  silenceMs?: number | undefined;
  /**
   * Called when the connection is lost, or none can be made: with the reason, and how long it is
   * until the next try.
   */
  onReconnect?: ((cause: Error, delayMs: number) => void) | undefined;
}

/** What a stream says: a kind and what the contract has for it. */
export type Frame<Kinds> = {
  [Kind in keyof Kinds]: {
    kind: Kind;
    data: Kinds[Kind];
    /**
     * Where the stream goes on behind this frame; null when the server has not said where it is.
     */
    lastEventId: string | null;
  };
}[keyof Kinds];

/** An operation that is answered with server-sent events. */
export interface StreamOperation extends Operation {
  /** The kinds that the contract has. A newer server may send others, which are passed over. */
  readonly kinds: readonly string[];
}

const defaultSilenceMs = 45_000;
const defaultRetryMs = 2_000;
const longestDelayMs = 30_000;

/**
 * Follows a stream until the loop over it ends or the signal is aborted. A connection that is lost
 * is made anew, and the stream goes on where it was: no frame is missing and none comes twice. What
 * another try would not change is thrown: a documented refusal as a `StatusError`, an answer of
 * another program as an `UnexpectedResponseError`.
 */
export async function* stream<AnyFrame>(
  client: Client,
  operation: StreamOperation,
  options: StreamOptions = {},
): AsyncGenerator<AnyFrame, void, undefined> {
  const { onReconnect, signal } = options;
  const state: State = {
    lastEventId: options.lastEventId ?? null,
    retryMs: defaultRetryMs,
    failures: 0,
  };
  for (;;) {
    if (signal?.aborted) return;
    let cause: Error;
    try {
      for await (const frame of connection<AnyFrame>(client, operation, options, state)) {
        if (signal?.aborted) return;
        yield frame;
      }
      cause = new ConnectionError({ cause: new Error('the server ended the stream') });
    } catch (error) {
      if (signal?.aborted) return;
      if (!isPassing(error)) throw error;
      cause = error;
    }
    const delayMs = delayOf(state, cause);
    state.failures += 1;
    onReconnect?.(cause, delayMs);
    await pause(delayMs, signal);
  }
}

/** What one connection leaves to the next. */
interface State {
  lastEventId: string | null;
  /** What the server has asked for. */
  retryMs: number;
  /** How many tries in a row have not been taken in. */
  failures: number;
}

/**
 * How long to wait: longer from failure to failure, and spread out, since all clients of a server
 * lose it at once.
 */
function delayOf({ failures, retryMs }: State, cause: Error): number {
  const delayMs =
    Math.min(retryMs + (2 ** failures - 1) * 1000, longestDelayMs) * (0.5 + Math.random() / 2);
  const askedForMs =
    cause instanceof StatusError ? (cause.result.retryAfterSeconds ?? 0) * 1000 : 0;
  return Math.max(delayMs, askedForMs);
}

/** The frames of one connection. */
async function* connection<AnyFrame>(
  client: Client,
  operation: StreamOperation,
  { requestId, signal, silenceMs = defaultSilenceMs }: StreamOptions,
  state: State,
): AsyncGenerator<AnyFrame, void, undefined> {
  const send = await client.prepare(operation, {
    accept: 'text/event-stream, application/json',
    cache: 'no-store',
    headers: { 'Last-Event-ID': state.lastEventId ?? undefined, 'X-Request-ID': requestId },
  });
  const limits = limit(signal, silenceMs);
  try {
    const response = await limits.within(send);
    if (response.status !== 200) {
      const text = await limits.within(() => response.text());
      const failure = { ...answer(response), data: jsonOf(operation, response, text) };
      throw new StatusError(failure as Failure<number, unknown>);
    }
    expectType(operation, response, ['text/event-stream']);
    state.failures = 0;
    const parser = new EventParser(state.lastEventId);
    const decoder = new TextDecoder();
    const reader = response.body?.getReader();
    for (;;) {
      const piece = await limits.within(async () => reader?.read());
      if (!piece || piece.done) return;
      for (const event of parser.push(decoder.decode(piece.value, { stream: true }))) {
        state.lastEventId = event.lastEventId;
        if (operation.kinds.includes(event.type)) yield frameOf<AnyFrame>(operation, event);
      }
      state.lastEventId = parser.lastEventId; // a position may come without data
      state.retryMs = parser.retryMs ?? state.retryMs;
    }
  } finally {
    limits.end();
  }
}

/** The type is asserted: the server's tests check each of its frames against the contract. */
function frameOf<AnyFrame>(
  { method, path }: Operation,
  { data, lastEventId, type }: ServerSentEvent,
): AnyFrame {
  try {
    return { kind: type, data: JSON.parse(data) as unknown, lastEventId } as AnyFrame;
  } catch (cause) {
    throw new UnexpectedResponseError(`${method} ${path}: the data of ${type} is not JSON`, {
      status: 200,
      body: data,
      cause,
    });
  }
}

/**
 * Another try may help. A proxy in front of a server that is started anew answers with an
 * undocumented 5xx.
 */
function isPassing(error: unknown): error is Error {
  if (error instanceof StatusError || error instanceof UnexpectedResponseError)
    return error.status >= 500;
  return error instanceof ConnectionError || error instanceof TimeoutError;
}

/** Waits so long, or until the signal is aborted. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done);
    if (signal?.aborted) done();
  });
}

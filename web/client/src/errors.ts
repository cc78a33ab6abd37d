import type { Failure } from './result.js';

/**
 * No answer came: the server cannot be reached, the connection broke, or the answer was a redirect,
 * which this API never sends.
 */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';

  constructor(options?: ErrorOptions) {
    super('the server cannot be reached', options);
  }
}

/**
 * The whole answer was not there in time. The server may have carried out the request nevertheless.
 */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly timeoutMs: number;

  constructor(timeoutMs: number, options?: ErrorOptions) {
    super(`no answer within ${String(timeoutMs)} ms`, options);
    this.timeoutMs = timeoutMs;
  }
}

/**
 * An answer that the contract does not have: another program answered (a proxy), or the server is
 * of another version.
 */
export class UnexpectedResponseError extends Error {
  override readonly name = 'UnexpectedResponseError';
  readonly status: number;
  /** The body as it came. */
  readonly body: string;

  constructor(message: string, answer: { status: number; body: string; cause?: unknown }) {
    super(message, { cause: answer.cause });
    this.status = answer.status;
    this.body = answer.body;
  }
}

/** Thrown by `unwrap` for a documented answer that is not 2xx. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly status: number;
  /** The whole answer. Its `data` has the type that the operation documents for its status. */
  readonly result: Failure<number, unknown>;

  constructor(result: Failure<number, unknown>) {
    super(`the server answered with status ${String(result.status)}`);
    this.status = result.status;
    this.result = result;
  }
}

import { StatusError } from './errors.js';

/** What every answer has, whatever its status. */
export interface AnswerInfo {
  /** The server's `X-Request-ID`, under which its log speaks of this request. */
  requestId: string | null;
  /** Seconds to wait before trying again, when the server says so. */
  retryAfterSeconds: number | null;
}

/** An answer with a status of 2xx. */
export interface Success<Status, Data> extends AnswerInfo {
  ok: true;
  status: Status;
  data: Data;
}

/**
 * An answer with any other status. `data` is its body as the contract describes it for this status.
 */
export interface Failure<Status, Data> extends AnswerInfo {
  ok: false;
  status: Status;
  data: Data;
}

/**
 * One of the answers that the contract documents for an operation. `status` tells which one, and
 * with it the type of `data`; `ok` tells 2xx from the rest.
 */
export type Result<Responses, Errors> =
  | { [Status in keyof Responses]: Success<Status, Responses[Status]> }[keyof Responses]
  | { [Status in keyof Errors]: Failure<Status, Errors[Status]> }[keyof Errors];

type AnyResult = Success<number, unknown> | Failure<number, unknown>;

/**
 * The body of a 2xx answer; any other answer is thrown as a {@link StatusError}, which has its
 * status and body.
 */
export function unwrap<R extends AnyResult>(result: R): Extract<R, { ok: true }>['data'] {
  if (!result.ok) throw new StatusError(result);
  return result.data;
}

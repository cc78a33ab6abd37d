import type { CallOptions, Client, Operation, Parameters } from './client.js';
import { UnexpectedResponseError } from './errors.js';
import { limit } from './limits.js';
import type { Result } from './result.js';

/** Calls an operation that is answered with JSON. */
export async function request<Responses, Errors>(
  client: Client,
  operation: Operation,
  options: Omit<Parameters, 'url'> & CallOptions = {},
): Promise<Result<Responses, Errors>> {
  const send = await client.prepare(operation, {
    ...options,
    accept: 'application/json',
    cache: 'no-cache', // a browser's cache may answer only after it has asked the server with If-None-Match
    headers: { 'X-Request-ID': options.requestId },
  });
  const limits = limit(options.signal, options.timeoutMs ?? client.timeoutMs);
  const { response, text } = await limits.within(async (signal) => {
    const response = await send(signal);
    return { response, text: await response.text() };
  });
  // The one place where a type is asserted for JSON: the status is a documented one, and the
  // server's tests check each of its answers against the contract.
  return { ...answer(response), data: jsonOf(operation, response, text) } as Result<
    Responses,
    Errors
  >;
}

/** What every result says of its answer. */
export function answer({ headers, status }: Response) {
  return {
    ok: status >= 200 && status <= 299,
    status,
    requestId: headers.get('X-Request-ID'),
    retryAfterSeconds: wholeSeconds(headers.get('Retry-After')),
  };
}

/**
 * The value of an answer that is JSON, as every one of a documented status is unless its operation
 * says so.
 */
export function jsonOf(operation: Operation, response: Response, text: string): unknown {
  if (!operation.statuses.includes(response.status))
    throw unexpected(
      operation,
      response,
      `status ${String(response.status)} is not documented`,
      text,
    );
  if (response.status === 204) return undefined;
  expectType(operation, response, ['application/json'], text);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw unexpected(operation, response, 'the answer is not JSON', text, cause);
  }
}

/** Refuses an answer that is of none of these media types, of which `image/*` means all images. */
export function expectType(
  operation: Operation,
  response: Response,
  types: readonly string[],
  text = '',
): void {
  const type = mediaTypeOf(response);
  if (
    types.some((expected) =>
      expected.endsWith('/*') ? type.startsWith(expected.slice(0, -1)) : type === expected,
    )
  )
    return;
  throw unexpected(
    operation,
    response,
    `the answer is ${type === '' ? 'untyped' : type}, not ${types.join(' or ')}`,
    text,
  );
}

/** The media type without parameters; empty when there is none. */
export function mediaTypeOf({ headers }: Response): string {
  return headers.get('Content-Type')?.split(';')[0]?.trim().toLowerCase() ?? '';
}

function unexpected(
  { method, path }: Operation,
  { status }: Response,
  why: string,
  body: string,
  cause?: unknown,
) {
  return new UnexpectedResponseError(`${method} ${path}: ${why}`, { status, body, cause });
}

function wholeSeconds(value: string | null): number | null {
  return value !== null && /^[0-9]+$/.test(value) ? Number(value) : null;
}

import { ConnectionError, StatusError, TimeoutError, UnexpectedResponseError } from '@hsi/client';

/** Why a question got no usable answer, in words for the page. */
export interface Problem {
  /**
   * `unreachable`: nobody, or something else than the server, answered. `unavailable`: the server
   * answered that it cannot say now. `failed`: any other answer.
   */
  kind: 'unreachable' | 'unavailable' | 'failed';
  text: string;
  /** How long the server asks to wait before the next try. */
  retryAfterMs?: number;
}

/** Words an error of the client. */
export function toProblem(error: unknown): Problem {
  if (error instanceof ConnectionError)
    return { kind: 'unreachable', text: 'The server does not answer.' };
  if (error instanceof TimeoutError)
    return {
      kind: 'unreachable',
      text: `The server gave no answer for ${Math.round(error.timeoutMs / 1000)} seconds.`,
    };
  if (error instanceof UnexpectedResponseError)
    return { kind: 'unreachable', text: 'Something else than the server answers at this address.' };
  if (error instanceof StatusError) {
    const { status, data, retryAfterSeconds } = error.result;
    return {
      kind: status === 503 ? 'unavailable' : 'failed',
      text: detailOf(data) ?? `The server answered with status ${status}.`,
      ...(retryAfterSeconds === null ? {} : { retryAfterMs: retryAfterSeconds * 1000 }),
    };
  }
  return { kind: 'failed', text: 'The page could not read the answer.' };
}

/** The sentence of an error body, or the messages of a 422 list. */
export function detailOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null || !('detail' in body)) return undefined;
  const { detail } = body;
  if (typeof detail === 'string') return detail;
  if (!Array.isArray(detail)) return undefined;
  const messages = detail.map((item: unknown) =>
    typeof item === 'object' && item !== null && 'msg' in item ? String(item.msg) : '',
  );
  return messages.filter((message) => message !== '').join('; ') || undefined;
}

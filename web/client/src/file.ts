import type { Client, Operation, Options, Parameters } from './client.js';
import { StatusError } from './errors.js';
import { limit, type Limits } from './limits.js';
import { answer, expectType, jsonOf, mediaTypeOf } from './request.js';
import type { Failure, Result } from './result.js';

/** The options of an operation that is answered with a file. */
export type FileOptions<Data extends Parameters> = Options<Data> & {
  /**
   * Where the file goes, piece by piece, instead of into `data`, which is then empty. It is closed
   * when the whole file is there, and aborted when the answer is none or breaks off.
   */
  to?: WritableStream<Uint8Array> | undefined;
};

/**
 * The options of an operation that is answered with a file that can be asked for again, or in
 * parts.
 */
export type StoredFileOptions<Data extends Parameters> = FileOptions<Data> & {
  /**
   * The `ETag` of the file that is there already: while it is the right one the answer is 304. A
   * browser's cache does this by itself.
   */
  ifNoneMatch?: string | undefined;
  /** Which bytes, as in `bytes=0-65535`: the answer is 206, with `Content-Range` in its headers. */
  range?: string | undefined;
};

/** The file is the one that `ifNoneMatch` names. */
export interface NotModified {
  304: undefined;
}

/**
 * One of the answers of an operation that is answered with a file. What is known of the file stands
 * in the headers, such as `ETag`.
 */
export type FileResult<Responses, Errors> = Result<Responses, Errors> & { headers: Headers };

/** An operation that is answered with a file. */
export interface FileOperation extends Operation {
  /** The media types of the file. Text is handed over as a string, anything else as a `Blob`. */
  readonly files: readonly string[];
}

/** Calls an operation that is answered with a file. It arrives whole, or the call fails. */
export async function requestFile<Responses, Errors>(
  client: Client,
  operation: FileOperation,
  options: Omit<StoredFileOptions<Parameters>, 'url'> = {},
): Promise<FileResult<Responses, Errors>> {
  const {
    ifNoneMatch,
    range,
    requestId,
    signal,
    timeoutMs = client.timeoutMs,
    to,
    ...parameters
  } = options;
  const limits = limit(signal, timeoutMs);
  const writer = to?.getWriter();
  try {
    const send = await client.prepare(operation, {
      ...parameters,
      accept: [...operation.files, 'application/json'].join(', '),
      // What is asked with an ETag or for a part is for the server to answer, not for the browser's
      // cache.
      cache: ifNoneMatch === undefined && range === undefined ? 'no-cache' : 'no-store',
      headers: { 'If-None-Match': ifNoneMatch, Range: range, 'X-Request-ID': requestId },
    });
    const response = await limits.within(send);
    const isFile = response.ok && operation.statuses.includes(response.status);
    const data = isFile
      ? await fileOf(operation, response, limits, writer)
      : await otherOf(operation, response, limits);
    // The other place where a type is asserted; see request().
    const result = { ...answer(response), data, headers: response.headers } as FileResult<
      Responses,
      Errors
    >;
    if (isFile) await writer?.close();
    else await writer?.abort(new StatusError(result as Failure<number, unknown>));
    return result;
  } catch (failure) {
    await writer?.abort(failure);
    throw failure;
  } finally {
    limits.end();
  }
}

type Writer = WritableStreamDefaultWriter<Uint8Array>;

/** The file: a string or a `Blob`, empty when a writer has taken it. */
async function fileOf(
  operation: FileOperation,
  response: Response,
  limits: Limits,
  writer: Writer | undefined,
): Promise<string | Blob> {
  expectType(operation, response, operation.files);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body?.getReader();
  for (;;) {
    const piece = await limits.within(async () => reader?.read());
    if (!piece || piece.done) break;
    if (writer) await writer.write(piece.value);
    else pieces.push(piece.value);
  }
  const type = mediaTypeOf(response);
  const file = new Blob(pieces, { type });
  return type.startsWith('text/') ? file.text() : file;
}

/** Any other answer, among them 304, which has no body. */
async function otherOf(operation: Operation, response: Response, limits: Limits): Promise<unknown> {
  const text = await limits.within(() => response.text());
  return response.status === 304 ? undefined : jsonOf(operation, response, text);
}

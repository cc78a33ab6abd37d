// The entry of @hsi/client. What is exported here is stable; everything below generated/ comes from
// openapi.yaml.
export { createClient } from './client.js';
export type { CallOptions, Client, ClientOptions, Options } from './client.js';
export type { FileOptions, FileResult, NotModified, StoredFileOptions } from './file.js';
export { ConnectionError, StatusError, TimeoutError, UnexpectedResponseError } from './errors.js';
export * from './generated/operations.gen.js';
export type * from './generated/types.gen.js';
export { unwrap } from './result.js';
export type { Frame, StreamOptions } from './stream.js';
export type { AnswerInfo, Failure, Result, Success } from './result.js';

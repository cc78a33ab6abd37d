// What the generator writes, and what it refuses to write.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { createClient } from '@hey-api/openapi-ts';
import { build } from 'esbuild';

import { operations } from '../generator/operations.js';

/** @type {string} */ let work;

before(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'hsi-generator-'));
});

after(() => rm(work, { recursive: true, force: true }));

/**
 * Generates from a contract with one operation and returns the code of the operations.
 * @param {string} name
 * @param {object} operation
 */
async function generate(name, operation) {
  const output = path.join(work, name);
  const responses = { 200: { description: 'Done.', content: { 'application/json': { schema: { type: 'object' } } } } };
  await createClient({
    input: {
      openapi: '3.0.3',
      info: { title: 'One operation', version: '1' },
      paths: { '/things': { post: { operationId: 'makeThing', summary: 'Make', responses, ...operation } } },
      components: { securitySchemes: { Key: { type: 'apiKey', in: 'header', name: 'X-Other-Key' } } },
    },
    output: { path: output, entryFile: false, module: { extension: '.js' } },
    plugins: ['@hey-api/typescript', operations()],
    logs: { level: 'silent', file: false },
  });
  return readFile(path.join(output, 'operations.gen.ts'), 'utf8');
}

/** @param {string} type */
const content = (type) => ({ content: { [type]: { schema: { type: 'object' } } } });

test('options are required when the contract requires one of them', async () => {
  assert.match(await generate('none', {}), /makeThing = \(client: Client, options\?: Options<MakeThingData>\)/);
  assert.match(
    await generate('body', { requestBody: { required: true, ...content('application/json') } }),
    /makeThing = \(client: Client, options: Options<MakeThingData>\)/,
  );
  const parameters = [{ name: 'limit', in: 'query', required: true, schema: { type: 'integer' } }];
  assert.match(await generate('query', { parameters }), /makeThing = \(client: Client, options: Options<MakeThingData>\)/);
});

test('304 is for the cache below fetch and no answer that a caller sees', async () => {
  const responses = { 200: { description: 'Done.', ...content('application/json') }, 304: { description: 'Nothing has changed.' } };
  assert.match(await generate('cached', { responses }), /statuses: \[200\]/);
});

/** @type {[string, object, RegExp][]} */
const refused = [
  [
    'a path parameter',
    { parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'string' } }] },
    /parameter id is not in the query/,
  ],
  ['a header', { parameters: [{ name: 'If-Match', in: 'header', schema: { type: 'string' } }] }, /is not in the query/],
  [
    'a list in the query',
    { parameters: [{ name: 'ids', in: 'query', schema: { type: 'array', items: { type: 'integer' } } }] },
    /ids is no plain value/,
  ],
  ['a form', { requestBody: content('multipart/form-data') }, /the body is multipart\/form-data/],
  ['text', { responses: { 200: { description: 'Text.', ...content('text/plain') } } }, /response 200 is text\/plain/],
  [
    'a default response',
    { responses: { default: { description: 'Any.', ...content('application/json') } } },
    /response default is not one status/,
  ],
  ['a redirect', { responses: { 302: { description: 'Elsewhere.' } } }, /response 302 is not one status of/],
  ['another key', { security: [{ Key: [] }] }, /security is not the X-API-Key header/],
];

for (const [name, operation, why] of refused) {
  test(`${name} is refused, because the client cannot send or read it`, async () => {
    // The generator wraps what a plugin throws.
    await assert.rejects(generate(name, operation), (error) => why.test(/** @type {any} */ (error).originalError.error.message));
  });
}

test('a bundle has only the operations that are used', async () => {
  const contents = `import { createClient, getHealth } from './dist/index.js'; console.log(await getHealth(createClient()));`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: path.resolve(import.meta.dirname, '..') },
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
  });
  const code = outputFiles[0]?.text ?? '';
  assert.match(code, /\/api\/system\/health/);
  assert.doesNotMatch(code, /\/api\/system\/(stats|cleanup|config)/);
  assert.doesNotMatch(code, /StatusError/, 'unwrap is not used either');
  console.log(`one operation: ${gzipSync(code).length} bytes gzipped`);
});

// What the generator writes, and what it refuses to write.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';

import { createClient } from '@hey-api/openapi-ts';
import { build } from 'esbuild';

import { operations } from '../generator/operations.js';
import { run } from './support/server.js';

const client = path.resolve(import.meta.dirname, '..');
/** @type {string} */ let work;

before(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'hsi-generator-'));
  await cp(path.join(client, 'dist'), work, { recursive: true }); // the runtime that generated code imports
  await writeFile(path.join(work, 'package.json'), '{ "type": "module" }');
});

after(() => rm(work, { recursive: true, force: true }));

/**
 * Generates from a contract with one operation and returns the code of the operations.
 * @param {string} name
 * @param {object} operation
 * @param {string} [route]
 */
async function generate(name, operation, route = '/things') {
  const output = path.join(work, name);
  const responses = {
    200: { description: 'Done.', content: { 'application/json': { schema: { type: 'object' } } } },
  };
  await createClient({
    input: {
      openapi: '3.0.3',
      info: { title: 'One operation', version: '1' },
      paths: {
        [route]: { post: { operationId: 'makeThing', summary: 'Make', responses, ...operation } },
      },
      components: {
        schemas: {
          Level: { type: 'string', enum: ['low', 'high'] },
          Point: { type: 'object', properties: { x: { type: 'integer' } } },
        },
        securitySchemes: {
          Key: { type: 'apiKey', in: 'header', name: 'X-Other-Key' },
          ApiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
          Session: { type: 'apiKey', in: 'cookie', name: 'session' },
        },
      },
    },
    output: { path: output, entryFile: false, module: { extension: '.js' } },
    plugins: ['@hey-api/typescript', operations()],
    logs: { level: 'silent', file: false },
  });
  return readFile(path.join(output, 'operations.gen.ts'), 'utf8');
}

/** @type {string[]} */
const uses = [];

/**
 * Writes code that uses what was generated; all of it is compiled at once, at the end.
 * @param {string} name
 * @param {string} code
 * @param {string} [operation]
 */
async function use(name, code, operation = 'makeThing') {
  const head = `import { createClient } from '../client.js';
import { ${operation} } from './operations.gen.js';

const client = createClient({ baseUrl: 'http://127.0.0.1:1' });
`;
  await writeFile(path.join(work, name, 'use.ts'), head + code);
  uses.push(`${name}/use.ts`);
}

/** @param {string} type */
const content = (type) => ({ content: { [type]: { schema: { type: 'object' } } } });

test('options are required when the contract requires one of them', async () => {
  assert.match(
    await generate('none', {}),
    /makeThing = \(client: Client, options\?: Options<MakeThingData>\)/,
  );
  assert.match(
    await generate('body', { requestBody: { required: true, ...content('application/json') } }),
    /makeThing = \(client: Client, options: Options<MakeThingData>\)/,
  );
  const parameters = [{ name: 'limit', in: 'query', required: true, schema: { type: 'integer' } }];
  assert.match(
    await generate('query', { parameters }),
    /makeThing = \(client: Client, options: Options<MakeThingData>\)/,
  );
});

test('304 of JSON is for the cache below fetch and no answer that a caller sees', async () => {
  const responses = {
    200: { description: 'Done.', ...content('application/json') },
    304: { description: 'Nothing has changed.' },
  };
  assert.match(await generate('cached', { responses }), /statuses: \[200\]/);
});

/** @param {Record<string, string[]>} types of each status */
const files = (types) =>
  Object.fromEntries(
    Object.entries(types).map(([status, names]) => [
      status,
      {
        description: 'A file.',
        content: Object.fromEntries(
          names.map((name) => [
            name,
            { schema: { type: 'string', ...(name !== 'text/csv' && { format: 'binary' }) } },
          ]),
        ),
      },
    ]),
  );

test('a file is told by its media types; one with an ETag can be asked for again and in parts', async () => {
  const unchanged = { 304: { description: 'Nothing has changed.' } };
  const picture = await generate('picture', {
    responses: {
      ...files({ 200: ['image/*', 'video/*'], 206: ['image/*', 'video/*'] }),
      ...unchanged,
    },
  });
  assert.match(
    picture,
    /options\?: StoredFileOptions<MakeThingData>\): Promise<FileResult<MakeThingResponses, unknown & NotModified>>/,
  );
  assert.match(
    picture,
    /statuses: \[\s*200,\s*206,\s*304\s*\],\s*files: \['image\/\*', 'video\/\*'\]/,
  );
  const table = await generate('table', { responses: files({ 200: ['text/csv'] }) });
  assert.match(
    table,
    /options\?: FileOptions<MakeThingData>\): Promise<FileResult<MakeThingResponses, unknown>>/,
  );
});

const anyKeyOrSession = [{ ApiKey: [] }, { Session: [] }, {}];

test('a key goes in its header, and the cookie of a session is for the browser', async () => {
  assert.match(await generate('secured', { security: anyKeyOrSession }), /secured: true/);
});

/** @param {object} events */
const streamed = (events, parameters = /** @type {object[]} */ ([])) => ({
  parameters,
  security: anyKeyOrSession,
  responses: {
    200: {
      description: 'A stream.',
      content: { 'text/event-stream': { schema: { type: 'string' }, 'x-sse-events': events } },
    },
  },
});
const position = [
  { name: 'Last-Event-ID', in: 'header', schema: { type: 'string' } },
  { name: 'last_event_id', in: 'query', schema: { type: 'string' } },
];

test('a stream is an iterator of frames whose kind decides the type of their data', async () => {
  const code = await generate(
    'streamed',
    streamed(
      { point: { schema: 'Point', id: true }, level: { schema: 'Level', id: false } },
      position,
    ),
  );
  assert.match(code, /secured: true,\s*kinds: \['point', 'level'\]/);
  await use(
    'streamed',
    `for await (const frame of makeThing(client, { lastEventId: 'e-1', signal: AbortSignal.timeout(1) })) {
  if (frame.kind === 'point') void frame.data.x?.toFixed();
  // @ts-expect-error a kind that is none
  if (frame.kind === 'line') continue;
  // @ts-expect-error only a point has it
  void frame.data.x;
}
// @ts-expect-error a key is no option of a stream
void makeThing(client, { query: { last_event_id: 'e-1' } });
`,
  );
});

/** @param {object} properties */
const pageOf = (properties) => ({
  operationId: 'listThings',
  parameters: [{ name: 'cursor', in: 'query', schema: { type: 'string' } }],
  responses: {
    200: {
      description: 'A page.',
      content: {
        'application/json': {
          schema: { type: 'object', required: Object.keys(properties), properties },
        },
      },
    },
  },
});
const nextCursor = { type: 'string', nullable: true };
const points = { type: 'array', items: { $ref: '#/components/schemas/Point' } };

test('a list with a cursor can be read row by row', async () => {
  await generate('rows', pageOf({ points, count: { type: 'integer' }, next_cursor: nextCursor }));
  await use(
    'rows',
    `for await (const point of eachThing(client, { query: { cursor: 'x' } })) {
  void point.x?.toFixed();
  // @ts-expect-error no such key
  void point.y;
}
for await (const _ of eachThing(client)) break;
`,
    'eachThing',
  );
});

const things = '/things/{thing_id}/parts/{part}';
const thingParameters = [
  { name: 'thing_id', in: 'path', required: true, schema: { type: 'string' } },
  { name: 'part', in: 'path', required: true, schema: { type: 'integer' } },
  {
    name: 'level',
    in: 'query',
    explode: false,
    schema: { type: 'array', items: { $ref: '#/components/schemas/Level' } },
  },
  {
    name: 'ids',
    in: 'query',
    explode: false,
    schema: { type: 'array', items: { type: 'integer' } },
  },
  { name: 'least', in: 'query', schema: { $ref: '#/components/schemas/Level' } },
];

test('parameters of the path and lists with commas have their types, and are required where the contract says so', async () => {
  assert.match(
    await generate('typed', { parameters: thingParameters }, things),
    /\(client: Client, options: Options<MakeThingData>\)/,
  );
  await use(
    'typed',
    `void makeThing(client, { path: { thing_id: 'a', part: 1 } });
void makeThing(client, { path: { thing_id: 'a', part: 1 }, query: { level: ['low', 'high'], ids: [1], least: 'low' } });
// @ts-expect-error the path is missing
void makeThing(client);
// @ts-expect-error the path is missing
void makeThing(client, { query: { ids: [1] } });
// @ts-expect-error a parameter of the path is missing
void makeThing(client, { path: { thing_id: 'a' } });
// @ts-expect-error a wrong type in the path
void makeThing(client, { path: { thing_id: 'a', part: '1' } });
// @ts-expect-error an unknown parameter in the path
void makeThing(client, { path: { thing_id: 'a', part: 1, other: 1 } });
// @ts-expect-error a list is an array
void makeThing(client, { path: { thing_id: 'a', part: 1 }, query: { level: 'low' } });
// @ts-expect-error an unknown item
void makeThing(client, { path: { thing_id: 'a', part: 1 }, query: { level: ['lowest'] } });
`,
  );
});

test('parameters of the path and lists with commas reach the server as they are', async () => {
  await generate('sent', { parameters: thingParameters }, things);
  const { outputFiles } = await build({
    stdin: {
      contents: `export { createClient } from '../client.js'; export { makeThing } from './operations.gen.ts';`,
      resolveDir: path.join(work, 'sent'),
    },
    bundle: true,
    format: 'esm',
    write: false,
  });
  const { createClient: connect, makeThing } = await import(
    `data:text/javascript;base64,${Buffer.from(outputFiles[0]?.contents ?? []).toString('base64')}`
  );
  /** @type {string[]} */ const seen = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const api = connect({ baseUrl: `http://127.0.0.1:${port}/prefix` });
  try {
    /** @type {[unknown, unknown, object | undefined, string][]} */
    const sent = [
      ['a', 1, undefined, 'a/parts/1'],
      ['a/b', 2, undefined, 'a%2Fb/parts/2'],
      ['50 %', 3, undefined, '50%20%25/parts/3'],
      ['%2e%2e', 4, undefined, '%252e%252e/parts/4'],
      ['?x#y', 5, undefined, '%3Fx%23y/parts/5'],
      ['é/../\u{1f4f7}', 6, undefined, '%C3%A9%2F..%2F%F0%9F%93%B7/parts/6'],
      ['$&{part}', 7, undefined, '%24%26%7Bpart%7D/parts/7'],
      ['...', 0, { level: ['low', 'high'], ids: [3, 1] }, '.../parts/0?level=low%2Chigh&ids=3%2C1'],
      ['a', 1, { level: [], ids: undefined, least: 'low' }, 'a/parts/1?level=&least=low'],
    ];
    for (const [thing_id, part, query] of sent)
      await makeThing(api, { path: { thing_id, part }, query });
    assert.deepEqual(
      seen,
      sent.map(([, , , url]) => `/prefix/things/${url}`),
    );
    for (const thing_id of ['', '.', '..', undefined, null]) {
      await assert.rejects(
        makeThing(api, { path: { thing_id, part: 1 } }),
        /path parameter thing_id must not be/,
      );
    }
    await assert.rejects(makeThing(api, {}), TypeError);
    await assert.rejects(
      makeThing(api, { path: { thing_id: 'a', part: 1 }, query: { level: ['a,b'] } }),
      /level: an item must not/,
    );
    assert.equal(seen.length, sent.length, 'what is refused is not sent');
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

/** @type {[string, object, RegExp, string?][]} */
const refused = [
  [
    'a header',
    { parameters: [{ name: 'If-Match', in: 'header', schema: { type: 'string' } }] },
    /If-Match is neither in the path nor/,
  ],
  [
    'a cookie',
    { parameters: [{ name: 'session', in: 'cookie', schema: { type: 'string' } }] },
    /session is neither in the path nor/,
  ],
  [
    'an object in the path',
    {
      parameters: [
        { name: 'at', in: 'path', required: true, schema: { $ref: '#/components/schemas/Point' } },
      ],
    },
    /path parameter at is no plain value/,
    '/things/{at}',
  ],
  [
    'a list in the path',
    {
      parameters: [
        {
          name: 'ids',
          in: 'path',
          required: true,
          schema: { type: 'array', items: { type: 'integer' } },
        },
      ],
    },
    /path parameter ids is no plain value/,
    '/things/{ids}',
  ],
  [
    'a list that is a repeated parameter',
    {
      parameters: [
        { name: 'ids', in: 'query', schema: { type: 'array', items: { type: 'integer' } } },
      ],
    },
    /ids is neither a plain value nor a list with commas/,
  ],
  [
    'a list of objects',
    {
      parameters: [
        {
          name: 'at',
          in: 'query',
          explode: false,
          schema: { type: 'array', items: { $ref: '#/components/schemas/Point' } },
        },
      ],
    },
    /at is neither a plain value nor a list with commas/,
  ],
  ['a form', { requestBody: content('multipart/form-data') }, /the body is multipart\/form-data/],
  [
    'text',
    { responses: { 200: { description: 'Text.', ...content('text/plain') } } },
    /response 200 is text\/plain/,
  ],
  [
    'a default response',
    { responses: { default: { description: 'Any.', ...content('application/json') } } },
    /response default is not one status/,
  ],
  [
    'a redirect',
    { responses: { 302: { description: 'Elsewhere.' } } },
    /response 302 is not one status of/,
  ],
  [
    'another key',
    { security: [{ Key: [] }] },
    /security is neither the X-API-Key header nor a cookie/,
  ],
  [
    'a file beside JSON',
    { responses: files({ 200: ['image/*', 'application/json'] }) },
    /response 200 is JSON or something else/,
  ],
  [
    'a file that is a failure',
    { responses: files({ 200: ['image/*'], 404: ['image/*'] }) },
    /response 404 is image\/\*/,
  ],
  ['a stream without kinds', streamed({}), /x-sse-events names no kind/],
  [
    'a stream with a filter',
    streamed({ a: { schema: 'Point' } }, [
      { name: 'level', in: 'query', schema: { type: 'string' } },
    ]),
    /level of a stream/,
  ],
  [
    'a frame without a schema',
    streamed({ a: { schema: 'Line' } }),
    /the data of a has no schema Line/,
  ],
  [
    'a page of two lists',
    pageOf({ points, others: points, next_cursor: nextCursor }),
    /a page has 2 lists/,
  ],
];

for (const [name, operation, why, route] of refused) {
  test(`${name} is refused, because the client cannot send or read it`, async () => {
    // The generator wraps what a plugin throws.
    await assert.rejects(generate(name, operation, route), (error) =>
      why.test(/** @type {any} */ (error).originalError.error.message),
    );
  });
}

test('the uses above compile, and what is wrong in them does not', async () => {
  assert.ok(uses.length > 0);
  const flags =
    '--noEmit --strict --target ES2022 --lib ES2023,DOM --module NodeNext --exactOptionalPropertyTypes'.split(
      ' ',
    );
  await run(
    process.execPath,
    [path.join(client, 'node_modules/typescript/bin/tsc'), ...flags, ...uses],
    { cwd: work },
  );
});

test('a bundle has only the operations that are used', async () => {
  const contents = `import { createClient, getHealth } from './dist/index.js'; console.log(await getHealth(createClient()));`;
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: client },
    bundle: true,
    minify: true,
    format: 'esm',
    write: false,
  });
  const code = outputFiles[0]?.text ?? '';
  assert.match(code, /\/api\/system\/health/);
  assert.doesNotMatch(code, /\/api\/system\/(stats|cleanup|config)/);
  assert.doesNotMatch(code, /StatusError/, 'unwrap is not used either');
  assert.doesNotMatch(
    code,
    /event-stream|getWriter|next_cursor/,
    'nor are streams, files and pages',
  );
  console.log(`one operation: ${gzipSync(code).length} bytes gzipped`);
});

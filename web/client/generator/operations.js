// A plugin of the generator that writes src/generated/operations.gen.ts: one function per operation
// of the contract. The generator's own plugin for this is not used because its results cannot be
// told apart by status, and because its code does not know which statuses are documented: an
// undocumented one would be handed to the caller under a type that says it cannot be.
import { $, definePluginConfig } from '@hey-api/openapi-ts';

/** @typedef {import('@hey-api/openapi-ts').IR.SchemaObject} Schema */
/** @typedef {(ref: string) => Schema} Resolve */

/**
 * The schema itself, where it is a reference or wrapped for a description.
 * @param {Schema} schema
 * @param {Resolve} resolve
 * @returns {Schema}
 */
function bare(schema, resolve) {
  if (schema.$ref) return bare(resolve(schema.$ref), resolve);
  const [only, ...others] = schema.items ?? [];
  if (schema.type === undefined && only && others.length === 0) return bare(only, resolve);
  return schema;
}

/**
 * @param {Schema} schema
 * @param {Resolve} resolve
 */
function isPlain(schema, resolve) {
  return ['boolean', 'enum', 'integer', 'number', 'string'].includes(
    String(bare(schema, resolve).type),
  );
}

/**
 * A list that is written with commas.
 * @param {import('@hey-api/openapi-ts').IR.ParameterObject} parameter
 * @param {Resolve} resolve
 */
function isCommaList({ explode, schema, style }, resolve) {
  const { type, items = [] } = bare(schema, resolve);
  return (
    type === 'array' &&
    style === 'form' &&
    !explode &&
    items.every((item) => isPlain(item, resolve))
  );
}

/** @typedef {import('@hey-api/openapi-ts').IR.OperationObject} Operation */
/** @typedef {Record<string, any>} Json a part of the contract, as it was read */

const json = 'application/json';
const eventStream = 'text/event-stream';
/** What src/file.ts can hand over. */
const fileTypes = /^(image|video)\/\*$|^text\/csv$/;
/** What src/stream.ts sends by itself. */
const positionParameters = new Set(['Last-Event-ID', 'last_event_id']);

/**
 * The media types of each status, from the contract itself: of several, the generator's own model
 * keeps one.
 * @param {Json} contract
 * @param {Operation} operation
 * @returns {Record<string, Json>}
 */
function contentsOf(contract, { method, path }) {
  const resolve = (/** @type {Json} */ part) => {
    if (!part['$ref']) return part;
    const keys = part['$ref'].slice('#/'.length).split('/');
    return keys.reduce((/** @type {any} */ at, /** @type {string} */ key) => at[key], contract);
  };
  const responses = Object.entries(contract['paths'][path][method].responses);
  return Object.fromEntries(
    responses.map(([status, response]) => [status, resolve(response).content ?? {}]),
  );
}

/**
 * What a success is: JSON, a file, or a stream of events.
 * @param {Record<string, Json>} contents
 */
function kindOf(contents) {
  const types = Object.entries(contents).flatMap(([status, content]) =>
    status.startsWith('2') ? Object.keys(content) : [],
  );
  if (types.includes(eventStream))
    return { stream: contents['200']?.[eventStream]?.['x-sse-events'] ?? {} };
  const files = [...new Set(types)].filter((type) => type !== json);
  return files.length > 0 ? { files } : {};
}

/**
 * Names what the hand-written runtime (src/) cannot send or read, so that the contract cannot grow
 * past it unnoticed.
 * @param {Operation} operation
 * @param {Record<string, Json>} contents
 * @param {Resolve} resolve
 */
function problemsOf(operation, contents, resolve) {
  const problems = [];
  const { files = [], stream } = kindOf(contents);
  if (!operation.operationId) problems.push('it has no operationId');
  const { path = {}, query = {}, ...elsewhere } = operation.parameters ?? {};
  for (const parameters of Object.values(elsewhere)) {
    for (const { name } of Object.values(parameters)) {
      if (!stream || !positionParameters.has(name))
        problems.push(`parameter ${name} is neither in the path nor in the query`);
    }
  }
  for (const { name, schema, style } of Object.values(path)) {
    if (style !== 'simple' || !isPlain(schema, resolve))
      problems.push(`path parameter ${name} is no plain value`);
  }
  for (const parameter of Object.values(query)) {
    if (!isPlain(parameter.schema, resolve) && !isCommaList(parameter, resolve))
      problems.push(
        `query parameter ${parameter.name} is neither a plain value nor a list with commas`,
      );
  }
  if (stream) {
    for (const { name } of [...Object.values(path), ...Object.values(query)])
      if (!positionParameters.has(name))
        problems.push(`parameter ${name} of a stream is no position`);
    if (Object.keys(stream).length === 0) problems.push('x-sse-events names no kind of frame');
  }
  if (operation.body && operation.body.mediaType !== json)
    problems.push(`the body is ${operation.body.mediaType}`);
  for (const [status, content] of Object.entries(contents)) {
    if (!/^[245][0-9][0-9]$|^304$/.test(status))
      problems.push(`response ${status} is not one status of 2xx, 4xx or 5xx`);
    for (const type of Object.keys(content)) {
      const isFile = status.startsWith('2') && (fileTypes.test(type) || type === eventStream);
      if (type !== json && !isFile) problems.push(`response ${status} is ${type}`);
      if (type === json && status.startsWith('2') && (stream || files.length > 0))
        problems.push(`response ${status} is JSON or something else`);
    }
  }
  for (const scheme of operation.security ?? []) {
    const isKey = scheme.type === 'apiKey' && scheme.in === 'header' && scheme.name === 'X-API-Key';
    const isSession = scheme.type === 'apiKey' && scheme.in === 'cookie'; // sent by the browser
    if (!isKey && !isSession)
      problems.push('security is neither the X-API-Key header nor a cookie');
  }
  return problems;
}

/** @param {Operation} operation */
function needsOptions(operation) {
  const { path = {}, query = {} } = operation.parameters ?? {};
  return (
    Boolean(operation.body?.required) ||
    Object.values({ ...path, ...query }).some((parameter) => parameter.required)
  );
}

/**
 * The statuses that a caller can see. Where he has not asked for it, 304 is between the server and
 * the cache below fetch, which hands over the 200 that it has.
 * @param {Operation} operation
 * @param {boolean} isFile
 */
function statusesOf(operation, isFile) {
  return Object.keys(operation.responses ?? {})
    .map(Number)
    .filter((status) => status !== 304 || isFile);
}

/**
 * The key under which a page has its rows, where the operation is a list that is read on by a
 * cursor.
 * @param {Operation} operation
 * @param {Resolve} resolve
 */
function rowsOf(operation, resolve) {
  const schema = operation.responses?.['200']?.schema;
  const properties = (schema && bare(schema, resolve).properties) ?? {};
  if (!operation.parameters?.query?.['cursor'] || !properties['next_cursor']) return undefined;
  const lists = Object.entries(properties).flatMap(([name, property]) =>
    bare(property, resolve).type === 'array' ? [name] : [],
  );
  if (lists.length !== 1)
    throw new Error(`${operation.method} ${operation.path}: a page has ${lists.length} lists`);
  return lists[0];
}

/** @type {import('@hey-api/openapi-ts').DefinePlugin<{ name: 'operations' }>['Handler']} */
function handler({ plugin }) {
  const external = (
    /** @type {string} */ name,
    /** @type {string} */ module,
    /** @type {'type' | 'function'} */ kind,
  ) => plugin.symbol(name, { external: `../${module}.js`, kind });
  const clientType = external('Client', 'client', 'type');
  const generatorType = (/** @type {any} */ item) =>
    $.type('AsyncGenerator').generics(item, 'void', 'undefined');
  const resolve = (/** @type {string} */ ref) => plugin.context.resolveIrRef(ref);

  plugin.forEach('operation', ({ operation }) => {
    const contents = contentsOf(plugin.context.spec, operation);
    const problems = problemsOf(operation, contents, resolve);
    if (problems.length > 0)
      throw new Error(`${operation.method} ${operation.path}: ${problems.join('; ')}`);

    const { operationId = '', summary = '', description: text = '' } = operation;
    const doc = text === '' ? [summary] : [summary, '', ...text.trimEnd().split('\n')];
    const { files, stream } = kindOf(contents);
    const typeOf = (/** @type {string} */ role) =>
      plugin.querySymbol({
        category: 'type',
        resource: 'operation',
        resourceId: operation.id,
        role,
        tool: 'typescript',
      }) ?? 'unknown';

    const description = $.object()
      .prop('method', $.literal(operation.method.toUpperCase()))
      .prop('path', $.literal(operation.path))
      .prop('statuses', $.fromValue(statusesOf(operation, Boolean(files))));
    if (operation.security?.length) description.prop('secured', $.literal(true));

    /**
     * Writes an exported function of a client and options.
     * @param {any} symbol
     * @param {string[]} comment
     * @param {{ options: any, required: boolean, returns: any, body: any }} parts
     */
    const write = (symbol, comment, { options, required, returns, body }) =>
      plugin.node(
        $.const(symbol)
          .export()
          .doc(comment)
          .assign(
            $.func()
              .param('client', (p) => p.type(clientType))
              .param('options', (p) => p.required(required).type(options))
              .returns(returns)
              .do($.return(body)),
          ),
      );
    const symbol = plugin.symbol(operationId, {
      meta: { category: 'sdk', resource: 'operation', resourceId: operation.id },
    });

    if (stream) {
      const kinds = $.type.object();
      for (const [kind, { schema }] of Object.entries(stream)) {
        const data = plugin.querySymbol({
          category: 'type',
          resource: 'definition',
          resourceId: `#/components/schemas/${schema}`,
          tool: 'typescript',
        });
        if (!data)
          throw new Error(
            `${operation.method} ${operation.path}: the data of ${kind} has no schema ${schema}`,
          );
        kinds.prop(kind, (p) => p.type($.type(data)));
      }
      const frame = plugin.symbol(`${operationId[0]?.toUpperCase()}${operationId.slice(1)}Frame`);
      plugin.node(
        $.type
          .alias(frame)
          .export()
          .doc([`One frame of ${operationId}: its kind decides the type of its data.`])
          .type($.type(external('Frame', 'stream', 'type')).generic(kinds)),
      );
      description.prop('kinds', $.fromValue(Object.keys(stream)));
      write(symbol, doc, {
        options: $.type(external('StreamOptions', 'stream', 'type')),
        required: false,
        returns: generatorType(frame),
        body: $(external('stream', 'stream', 'function'))
          .call('client', description, 'options')
          .generic(frame),
      });
      return;
    }

    const isStored = files && '304' in contents;
    const errors = isStored
      ? $.type.and(typeOf('errors'), external('NotModified', 'file', 'type'))
      : typeOf('errors');
    const outcome = [typeOf('responses'), errors];
    const required = needsOptions(operation);
    const optionsType = files
      ? external(isStored ? 'StoredFileOptions' : 'FileOptions', 'file', 'type')
      : external('Options', 'client', 'type');
    const options = $.type(optionsType).generic(typeOf('data'));
    const result = files
      ? external('FileResult', 'file', 'type')
      : external('Result', 'result', 'type');
    const call = files
      ? external('requestFile', 'file', 'function')
      : external('request', 'request', 'function');
    if (files) description.prop('files', $.fromValue(files));
    write(symbol, doc, {
      options,
      required,
      returns: $.type('Promise').generic($.type(result).generics(...outcome)),
      body: $(call)
        .call('client', description, 'options')
        .generics(...outcome),
    });

    const rows = rowsOf(operation, resolve);
    if (!rows) return;
    const [, plural = ''] = /^list(.+)s$/.exec(operationId) ?? [];
    if (plural === '')
      throw new Error(
        `${operation.method} ${operation.path}: the rows of ${operationId} have no name`,
      );
    const row = $.type(typeOf('responses'))
      .idx(200)
      .idx($.type.literal(rows))
      .idx($.type('number'));
    write(
      plugin.symbol(`each${plural}`),
      [`${summary}: all of them, from page to page as they are asked for.`],
      {
        options,
        required,
        returns: generatorType(row),
        body: $(external('eachRow', 'pages', 'function'))
          .call(symbol, $.literal(rows), 'client', 'options')
          .generics(row, options),
      },
    );
  });
}

export const operations = definePluginConfig({
  name: 'operations',
  config: { includeInEntry: false },
  dependencies: ['@hey-api/typescript'],
  handler,
});

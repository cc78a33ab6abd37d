// A plugin of the generator that writes src/generated/operations.gen.ts: one function per operation of the contract. The generator's own
// plugin for this is not used because its results cannot be told apart by status, and because its code does not know which statuses are
// documented: an undocumented one would be handed to the caller under a type that says it cannot be.
import { $, definePluginConfig } from '@hey-api/openapi-ts';

const runtimeModule = '../client.js';

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
  return ['boolean', 'enum', 'integer', 'number', 'string'].includes(String(bare(schema, resolve).type));
}

/**
 * A list that is written with commas.
 * @param {import('@hey-api/openapi-ts').IR.ParameterObject} parameter
 * @param {Resolve} resolve
 */
function isCommaList({ explode, schema, style }, resolve) {
  const { type, items = [] } = bare(schema, resolve);
  return type === 'array' && style === 'form' && !explode && items.every((item) => isPlain(item, resolve));
}

/**
 * Names what the hand-written runtime (src/client.ts) cannot send or read, so that the contract cannot grow past it unnoticed.
 * @param {import('@hey-api/openapi-ts').IR.OperationObject} operation
 * @param {Resolve} resolve
 */
function problemsOf(operation, resolve) {
  const problems = [];
  if (!operation.operationId) problems.push('it has no operationId');
  const { path = {}, query = {}, ...elsewhere } = operation.parameters ?? {};
  for (const parameters of Object.values(elsewhere)) {
    for (const { name } of Object.values(parameters)) problems.push(`parameter ${name} is neither in the path nor in the query`);
  }
  for (const { name, schema, style } of Object.values(path)) {
    if (style !== 'simple' || !isPlain(schema, resolve)) problems.push(`path parameter ${name} is no plain value`);
  }
  for (const parameter of Object.values(query)) {
    if (!isPlain(parameter.schema, resolve) && !isCommaList(parameter, resolve))
      problems.push(`query parameter ${parameter.name} is neither a plain value nor a list with commas`);
  }
  if (operation.body && operation.body.mediaType !== 'application/json') problems.push(`the body is ${operation.body.mediaType}`);
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    if (!/^[245][0-9][0-9]$|^304$/.test(status)) problems.push(`response ${status} is not one status of 2xx, 4xx or 5xx`);
    if (response?.mediaType && response.mediaType !== 'application/json') problems.push(`response ${status} is ${response.mediaType}`);
  }
  for (const scheme of operation.security ?? []) {
    if (scheme.type !== 'apiKey' || scheme.in !== 'header' || scheme.name !== 'X-API-Key')
      problems.push('security is not the X-API-Key header');
  }
  return problems;
}

/** @param {import('@hey-api/openapi-ts').IR.OperationObject} operation */
function needsOptions(operation) {
  const { path = {}, query = {} } = operation.parameters ?? {};
  return Boolean(operation.body?.required) || Object.values({ ...path, ...query }).some((parameter) => parameter.required);
}

/**
 * The statuses that a caller can see. 304 is between the server and the cache below fetch, which hands over the 200 that it has.
 * @param {import('@hey-api/openapi-ts').IR.OperationObject} operation
 */
function statusesOf(operation) {
  return Object.keys(operation.responses ?? {})
    .map(Number)
    .filter((status) => status !== 304);
}

/** @type {import('@hey-api/openapi-ts').DefinePlugin<{ name: 'operations' }>['Handler']} */
function handler({ plugin }) {
  const clientType = plugin.symbol('Client', { external: runtimeModule, kind: 'type' });
  const optionsType = plugin.symbol('Options', { external: runtimeModule, kind: 'type' });
  const resultType = plugin.symbol('Result', { external: runtimeModule, kind: 'type' });

  plugin.forEach('operation', ({ operation }) => {
    const problems = problemsOf(operation, (ref) => plugin.context.resolveIrRef(ref));
    if (problems.length > 0) throw new Error(`${operation.method} ${operation.path}: ${problems.join('; ')}`);

    const typeOf = (/** @type {string} */ role) =>
      plugin.querySymbol({ category: 'type', resource: 'operation', resourceId: operation.id, role, tool: 'typescript' }) ?? 'unknown';
    const outcome = [typeOf('responses'), typeOf('errors')];
    const description = $.object()
      .prop('method', $.literal(operation.method.toUpperCase()))
      .prop('path', $.literal(operation.path))
      .prop('statuses', $.fromValue(statusesOf(operation)));
    if (operation.security?.length) description.prop('secured', $.literal(true));

    const { operationId = '', summary = '', description: text = '' } = operation;
    const doc = text === '' ? [summary] : [summary, '', ...text.trimEnd().split('\n')];
    const symbol = plugin.symbol(operationId, { meta: { category: 'sdk', resource: 'operation', resourceId: operation.id } });
    plugin.node(
      $.const(symbol)
        .export()
        .doc(doc)
        .assign(
          $.func()
            .param('client', (p) => p.type(clientType))
            .param('options', (p) => p.required(needsOptions(operation)).type($.type(optionsType).generic(typeOf('data'))))
            .returns($.type('Promise').generic($.type(resultType).generics(...outcome)))
            .do(
              $.return(
                $('client')
                  .attr('request')
                  .call(description, 'options')
                  .generics(...outcome),
              ),
            ),
        ),
    );
  });
}

export const operations = definePluginConfig({
  name: 'operations',
  config: { includeInEntry: false },
  dependencies: ['@hey-api/typescript'],
  handler,
});

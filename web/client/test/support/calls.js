// Writes the module calls.ts of the consumer from the contract: a valid and an invalid call of
// every operation, with the values that the contract gives as examples and the ids that the
// consumer has found. It is compiled against the package, so that each example has the type that
// the package says. Streams are not among them: they have no end.

/** @typedef {Record<string, any>} Json a part of the contract, as it was read */

/** @param {Json} contract */
export function callsModule(contract) {
  const operations = Object.values(contract['paths']).flatMap((item) => {
    const { parameters = [], ...methods } = /** @type {Json} */ (item);
    return Object.values(methods)
      .map((operation) => ({
        ...operation,
        parameters: [...parameters, ...(operation.parameters ?? [])],
      }))
      .filter(({ responses }) => !responses['200']?.content?.['text/event-stream']);
  });
  const valid = [];
  const invalid = [];
  const named = [];
  for (const operation of operations) {
    const name = operation.operationId;
    const options = optionsOf(contract, operation);
    const call = (/** @type {Json | undefined} */ query = undefined) => {
      const { path: ids, ...others } = options;
      const path = ids ? `path: { ${Object.keys(ids).map((id) => `${id}: ids.${id}`)} }, ` : '';
      const rest = JSON.stringify({
        ...others,
        ...(query && { query: { ...others['query'], ...query } }),
      }).slice(1, -1);
      return `${name}: (client, ids) => api.${name}(client, { ${path}${rest} }),`;
    };
    valid.push(call());
    if ('404' in operation.responses) named.push(name);
    if (!('422' in operation.responses)) continue;
    invalid.push('// @ts-expect-error an unknown query parameter', call({ unknown: 1 }));
  }
  const secured = operations
    .filter(({ responses }) => '401' in responses)
    .map(({ operationId }) => operationId);
  return `import * as api from '@hsi/client';
import type { Client, Result } from '@hsi/client';

/** What is named in a path. */
export interface Ids {
  camera_id: string;
  detection_id: number;
  event_id: number;
}

type Call = (client: Client, ids: Ids) => Promise<Result<Record<number, unknown>, Record<number, unknown>>>;

/** The exports that are operations: functions of a client that promise a result. */
type OperationName = {
  [Name in keyof typeof api]: (typeof api)[Name] extends (client: Client, ...rest: never[]) => Promise<infer R>
    ? R extends { ok: boolean; status: number }
      ? Name
      : never
    : never;
}[keyof typeof api];

/** Each is answered with 2xx by a server that works. */
export const valid: Record<OperationName, Call> = {
${valid.join('\n')}
};

/** Each is answered with 422. The types refuse it too. */
export const invalid: Partial<Record<OperationName, Call>> = {
${invalid.join('\n')}
};

/** The operations that name something, which may not be there. */
export const named = ${JSON.stringify(named)} as const satisfies OperationName[];

/** The operations that take the API key. */
export const secured = ${JSON.stringify(secured)} as const satisfies OperationName[];
`;
}

/**
 * @param {Json} contract
 * @param {Json} operation
 */
function optionsOf(contract, operation) {
  /** @type {Json} */ const options = {};
  for (const reference of operation['parameters']) {
    const parameter = resolved(contract, reference);
    const value = exampleOf(contract, parameter);
    if (value === undefined && !parameter['required']) continue; // a cursor comes from an answer
    (options[parameter['in']] ??= {})[parameter['name']] = value;
  }
  if (operation['requestBody'])
    options['body'] = exampleOf(contract, operation['requestBody'].content['application/json']);
  return options;
}

/**
 * @param {Json} contract
 * @param {Json} described
 */
function exampleOf(contract, described) {
  const [name] = Object.keys(described['examples'] ?? {}).toSorted();
  return name === undefined
    ? described['example']
    : resolved(contract, described['examples'][name]).value;
}

/**
 * @param {Json} contract
 * @param {Json} part
 * @returns {any}
 */
function resolved(contract, part) {
  if (!part['$ref']) return part;
  return part['$ref']
    .slice('#/'.length)
    .split('/')
    .reduce((/** @type {any} */ at, /** @type {string} */ key) => at[key], contract);
}

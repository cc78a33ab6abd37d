// Writes the module calls.ts of the consumer from the contract: a valid and an invalid call of every operation, with the values that the
// contract gives as examples. It is compiled against the package, so that each example has the type that the package says.

/** @typedef {Record<string, any>} Json a part of the contract, as it was read */

/** @param {Json} contract */
export function callsModule(contract) {
  const operations = Object.values(contract['paths']).flatMap((item) => {
    const { parameters = [], ...methods } = /** @type {Json} */ (item);
    return Object.values(methods).map((operation) => ({ ...operation, parameters: [...parameters, ...(operation.parameters ?? [])] }));
  });
  const valid = [];
  const invalid = [];
  for (const operation of operations) {
    const name = operation.operationId;
    const options = optionsOf(contract, operation);
    valid.push(`${name}: (client) => api.${name}(client, ${JSON.stringify(options)}),`);
    if (!('422' in operation.responses)) continue;
    const unknown = { ...options, query: { ...options['query'], unknown: 1 } };
    invalid.push('// @ts-expect-error an unknown query parameter', `${name}: (client) => api.${name}(client, ${JSON.stringify(unknown)}),`);
  }
  const secured = operations.filter(({ responses }) => '401' in responses).map(({ operationId }) => operationId);
  return `import * as api from '@hsi/client';
import type { Client, Result } from '@hsi/client';

type Call = (client: Client) => Promise<Result<Record<number, unknown>, Record<number, unknown>>>;

/** The exports that are operations: functions of a client that promise a result. */
type OperationName = {
  [Name in keyof typeof api]: (typeof api)[Name] extends (client: Client, ...rest: never[]) => Promise<infer R>
    ? R extends { ok: boolean; status: number }
      ? Name
      : never
    : never;
}[keyof typeof api];

/** Each is answered with 200 by a server that works. */
export const valid: Record<OperationName, Call> = {
${valid.join('\n')}
};

/** Each is answered with 422. The types refuse it too. */
export const invalid: Partial<Record<OperationName, Call>> = {
${invalid.join('\n')}
};

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
  if (operation['requestBody']) options['body'] = exampleOf(contract, operation['requestBody'].content['application/json']);
  return options;
}

/**
 * @param {Json} contract
 * @param {Json} described
 */
function exampleOf(contract, described) {
  const [name] = Object.keys(described['examples'] ?? {}).toSorted();
  return name === undefined ? described['example'] : resolved(contract, described['examples'][name]).value;
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

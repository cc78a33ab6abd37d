// Bounds, defaults and descriptions that the page needs come from openapi.yaml when the page is
// built: `import … from 'virtual:contract'`.
import { readFileSync } from 'node:fs';

import { load } from 'js-yaml';
import type { Plugin } from 'vite';

interface Schema {
  type?: string;
  description?: string;
  minimum?: number;
  maximum?: number;
  default?: number;
}

interface Contract {
  paths: Record<string, { get?: { parameters?: { name: string; schema: Schema }[] } }>;
  components: { schemas: Record<string, { properties?: Record<string, Schema> }> };
}

/** What of the contract the page is built with. A missing part fails the build. */
export function excerpt(text: string) {
  const { paths, components } = load(text) as Contract;
  const parameter = (path: string, name: string) => {
    const schema = paths[path]?.get?.parameters?.find(
      (candidate) => candidate.name === name,
    )?.schema;
    return bounds(schema, `${path}?${name}`);
  };
  const fields = Object.entries(components.schemas['SystemConfigUpdate']?.properties ?? {});
  if (fields.length === 0) throw new Error('the contract has no SystemConfigUpdate');
  return {
    configFields: Object.fromEntries(fields.map(([name, schema]) => [name, bounds(schema, name)])),
    historyLimit: parameter('/api/system/gpu/history', 'limit'),
    windowMinutes: parameter('/api/system/pipeline-latency', 'window_minutes'),
  };
}

function bounds(schema: Schema | undefined, name: string) {
  const { type, description = '', minimum, maximum } = schema ?? {};
  if (type === undefined || minimum === undefined || maximum === undefined)
    throw new Error(`the contract gives no bounds for ${name}`);
  return { integer: type === 'integer', description, minimum, maximum };
}

/** Makes the excerpt importable as `virtual:contract`. */
export function contract(file: string): Plugin {
  const id = 'virtual:contract';
  return {
    name: 'contract',
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load(resolved) {
      if (resolved !== `\0${id}`) return undefined;
      this.addWatchFile(file);
      const exported = Object.entries(excerpt(readFileSync(file, 'utf8')));
      return exported
        .map(([name, value]) => `export const ${name} = ${JSON.stringify(value)};`)
        .join('\n');
    },
  };
}

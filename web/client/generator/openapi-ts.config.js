import { defineConfig } from '@hey-api/openapi-ts';

import { operations } from './operations.js';

// The schema named Error would hide JavaScript's own Error from those who import it.
const schemaNames = new Map([
  ['Error', 'ErrorBody'],
  ['ValidationError', 'ValidationErrorBody'],
]);

export default defineConfig({
  input: '../../openapi.yaml',
  logs: { file: false },
  output: { path: 'src/generated', module: { extension: '.js' }, entryFile: false },
  plugins: [
    {
      name: '@hey-api/typescript',
      definitions: { case: 'preserve', name: (name) => schemaNames.get(name) ?? name },
    },
    operations(),
  ],
});

// Packs the package from a copy without dist/, as in a fresh clone, installs it into an empty
// project elsewhere, compiles that project against it and drives live servers with it.
import assert from 'node:assert/strict';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { callsModule } from './support/calls.js';
import { run, serverBinary, startDetector, startServer } from './support/server.js';

const client = path.resolve(import.meta.dirname, '..');
const tsc = path.join(client, 'node_modules/typescript/bin/tsc');
const apiKey = 'a-key-for-tests';
const keys = { API_KEY_ENABLED: 'true', API_KEYS: apiKey };
const haste = { BATCH_WINDOW_SECONDS: '2', BATCH_IDLE_TIMEOUT_SECONDS: '1' };
const picture = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAG0lEQVR42u3BgQAAAADDoPlT3+AEVQEAAAB8AxBAAAG9PLePAAAAAElFTkSuQmCC',
  'base64',
); // a black PNG of 64 x 64

/** What no call of this package from Node brings about. */
const elsewhere = new Set([
  'GET /api/system/gpu/history: 304', // for a cache below fetch
  'GET /api/events/stream: 422', // nothing that it takes is refused
  'POST /api/system/cleanup: 409', // another cleanup must be running
  'DELETE /api/session: 503', // for a browser with a cookie
]);

/** @type {string} */ let work;
/** @type {string} */ let project;
/** @type {string[]} */ let packed;

before(async () => {
  work = await mkdtemp(path.join(tmpdir(), 'hsi-package-'));
  project = path.join(work, 'project');

  const source = path.join(work, 'source');
  for (const name of [
    'package.json',
    'README.md',
    'LICENSE',
    'src',
    'tsconfig.json',
    'tsconfig.build.json',
  ]) {
    await cp(path.join(client, name), path.join(source, name), { recursive: true });
  }
  await symlink(path.join(client, 'node_modules'), path.join(source, 'node_modules'));
  // The package's own prepack script builds it, also where npm is set to ignore scripts.
  const output = await run(
    'npm',
    ['pack', '--json', '--silent', '--ignore-scripts=false', '--pack-destination', work],
    { cwd: source },
  );
  const [pack] = JSON.parse(output);
  packed = pack.files.map((/** @type {{ path: string }} */ file) => file.path).toSorted();

  await mkdir(project);
  await writeFile(
    path.join(project, 'package.json'),
    '{ "name": "consumer", "private": true, "type": "module" }\n',
  );
  // Offline: the package has no dependencies, so nothing may be asked for.
  await run(
    'npm',
    [
      'install',
      '--offline',
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      path.join(work, pack.filename),
    ],
    {
      cwd: project,
    },
  );
  await cp(path.join(client, 'test/consumer'), project, { recursive: true });
  await cp(path.join(client, 'examples'), path.join(project, 'examples'), { recursive: true });
});

after(() => rm(work, { recursive: true, force: true }));

/**
 * Compiles the consumer's project with the compiler and the Node types of the tools.
 * @param {string[]} args
 */
function compile(...args) {
  return run(
    process.execPath,
    [tsc, '--typeRoots', path.join(client, 'node_modules/@types'), ...args],
    { cwd: project },
  );
}

test('the package has the compiled code, its types, the README and the licence, and nothing else', async () => {
  const modules = (await readdir(path.join(client, 'src'), { recursive: true })).filter((name) =>
    name.endsWith('.ts'),
  );
  const expected = modules.flatMap((name) => [
    `dist/${name.replace(/\.ts$/, '.js')}`,
    `dist/${name.replace(/\.ts$/, '.d.ts')}`,
  ]);
  assert.deepEqual(packed, [...expected, 'LICENSE', 'README.md', 'package.json'].toSorted());
  const [ours, root] = await Promise.all(
    ['LICENSE', '../../LICENSE'].map((name) => readFile(path.join(client, name), 'utf8')),
  );
  assert.equal(ours, root, 'the licence of the whole project');
});

test('the package has no dependencies and no side effects', async () => {
  const manifest = JSON.parse(
    await readFile(path.join(project, 'node_modules/@hsi/client/package.json'), 'utf8'),
  );
  assert.equal(manifest.sideEffects, false);
  assert.deepEqual(manifest.dependencies ?? {}, {});
  assert.deepEqual(manifest.peerDependencies ?? {}, {});
});

test('no any is in the types that a user sees', async () => {
  for (const name of packed.filter((file) => file.endsWith('.d.ts'))) {
    const code = (
      await readFile(path.join(project, 'node_modules/@hsi/client', name), 'utf8')
    ).replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
    assert.doesNotMatch(code, /\bany\b/, name);
  }
});

test('what is wrong does not compile, in a project for browsers with a bundler', async () => {
  await compile('--project', 'tsconfig.browser.json');
});

describe('against live servers', () => {
  /** @type {Awaited<ReturnType<typeof startServer>>} */ let server;
  /** @type {Awaited<ReturnType<typeof startServer>>} */ let down;
  /** @type {Awaited<ReturnType<typeof startDetector>>} */ let detector;
  /** @type {Record<string, any>} */ let contract;

  before(async () => {
    const binary = await serverBinary(work);
    detector = await startDetector();
    [server, down] = await Promise.all([
      startServer(binary, { ...keys, ...haste, RTDETR_URL: detector.url }),
      startServer(binary, {
        ...keys,
        DATABASE_URL: 'postgres://127.0.0.1:1/none',
        REDIS_URL: 'redis://127.0.0.1:1',
      }),
    ]);
    await mkdir(path.join(server.dataDir, 'cameras/front_door'), { recursive: true });
    await writeFile(path.join(server.dataDir, 'cameras/front_door/refused.png'), picture);
    contract = await (await fetch(`${server.baseUrl}/openapi.json`)).json();
    await writeFile(path.join(project, 'calls.ts'), callsModule(contract));
    await writeReadmeBlocks(server.baseUrl);
    await compile();
  });

  after(() => Promise.all([server?.stop(), down?.stop(), detector?.stop()]));

  /**
   * @param {string} script
   * @param {string[]} args
   */
  function runScript(script, ...args) {
    const env = {
      ...process.env,
      HSI_URL: server.baseUrl,
      HSI_DOWN_URL: down.baseUrl,
      HSI_API_KEY: apiKey,
      HSI_CAMERAS: path.join(server.dataDir, 'cameras'),
    };
    return run(process.execPath, [path.join('out', script), ...args], { cwd: project, env });
  }

  test('every operation is answered with each status that can be brought about', async () => {
    const seen = JSON.parse(await runScript('drive.js'));
    const missing = [];
    for (const [route, item] of Object.entries(contract['paths'])) {
      for (const [method, operation] of Object.entries(/** @type {Record<string, any>} */ (item))) {
        if (method === 'parameters') continue;
        const name = `${method.toUpperCase()} ${route}`;
        for (const status of [200, 201, 206, 304, 401, 404, 409, 416, 422, 503]) {
          if (
            !(status in operation.responses) ||
            seen[name]?.includes(status) ||
            elsewhere.has(`${name}: ${status}`)
          )
            continue;
          missing.push(`${name}: ${status}`);
        }
      }
    }
    assert.deepEqual(missing, []);
    const manifest = JSON.parse(await readFile(path.join(client, 'package.json'), 'utf8'));
    assert.equal(
      manifest.version,
      contract['info'].version,
      'the package has the version of the contract',
    );
  });

  test('the README and the examples do what they say', async () => {
    assert.match(await runScript('readme-1.js'), /^200 healthy Database operational$/m);
    assert.match(await runScript('readme-2.js'), /^\d{4}-\d\d-\d\dT.* .*(person|car)/m);
    assert.match(await runScript('readme-3.js'), /^1 events so far$/m);
    assert.match(await runScript('readme-4.js'), /^image\/png 84\n304$/m);
    assert.match(await runScript('examples/follow.js', '1'), /^event \d+: .* Porch: /m);
    assert.match(
      await runScript('examples/export-events.js'),
      /^events\.csv is written.*attachment/m,
    );
    assert.match(await readFile(path.join(project, 'events.csv'), 'utf8'), /^event_id,/);
    assert.match(await runScript('examples/health.js'), /^healthy\n[^]* {2}database: healthy, /m);
    assert.match(await runScript('examples/gpu-history.js'), /\d+ samples/);
    assert.match(
      await runScript('examples/change-retention.js'),
      /retention_days: number must be at most 365[^]*kept for 14 days/,
    );
    assert.match(await runScript('examples/cleanup-preview.js'), /would delete 0 events/);
  });
});

/**
 * Makes each TypeScript block of the README a module of the project.
 * @param {string} baseUrl
 */
async function writeReadmeBlocks(baseUrl) {
  const readme = await readFile(path.join(client, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```ts\n([^]*?)^```/gm)].map(([, code]) => String(code));
  assert.ok(blocks.length > 0);
  await Promise.all(
    blocks.map((code, i) =>
      writeFile(
        path.join(project, `readme-${i + 1}.ts`),
        code.replaceAll('http://127.0.0.1:8000', baseUrl),
      ),
    ),
  );
}

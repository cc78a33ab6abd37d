// Starts the real server for tests, with a data folder of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';
import { createInterface } from 'node:readline';

const repository = path.resolve(import.meta.dirname, '../../../..');
const patienceMs = 60_000;

/**
 * The server's binary: HSI_BINARY, or built for this run.
 * @param {string} workDir
 */
export async function serverBinary(workDir) {
  if (process.env['HSI_BINARY']) return process.env['HSI_BINARY'];
  const binary = path.join(workDir, 'hsi');
  const cgoFlags = process.env['CGO_CFLAGS'] ?? '-O2 -g -Wno-deprecated-declarations';
  await run('go', ['build', '-buildvcs=false', '-o', binary, './cmd/hsi'], {
    cwd: repository,
    env: { ...process.env, CGO_CFLAGS: cgoFlags },
  });
  return binary;
}

/**
 * Starts `hsi serve` on a free port and waits until it listens.
 * @param {string} binary
 * @param {Record<string, string>} env
 */
export async function startServer(binary, env) {
  const directory = await mkdtemp('/tmp/hsi-client-'); // the databases' own user must be able to enter it
  await chmod(directory, 0o755);
  const dataDir = path.join(directory, 'data');
  const server = spawn(binary, ['serve'], {
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      EMBEDDED_DEPS_DIR: process.env['EMBEDDED_DEPS_DIR'] ?? path.join(repository, '.deps'),
      DATA_DIR: dataDir,
      API_PORT: '0',
      ...env,
    },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = new Promise((resolve) => server.once('exit', resolve));
  const killWithUs = () => server.kill('SIGKILL');
  process.once('exit', killWithUs);

  /** @type {string[]} */
  const log = [];
  const lines = createInterface({ input: server.stderr });
  const baseUrl = await new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`the server does not listen:\n${log.join('\n')}`)),
      patienceMs,
    );
    server.once('error', reject);
    lines.once('close', () => reject(new Error(`the server ended:\n${log.join('\n')}`)));
    lines.on('line', (line) => {
      log.push(line);
      const record = line.startsWith('{') ? JSON.parse(line) : {};
      if (record.msg !== 'listening') return;
      clearTimeout(timer);
      resolve(record.address);
    });
  });

  return {
    baseUrl: /** @type {string} */ (baseUrl),
    dataDir,
    async stop() {
      server.kill('SIGTERM');
      await exited;
      process.removeListener('exit', killWithUs);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Starts an object detector that sees a person and a car in every picture, but can read none named refused.png, which becomes a dead letter. */
export async function startDetector() {
  const healthy = { status: 'healthy', model_loaded: true };
  const found = [
    { class: 'person', confidence: 0.9, bbox: { x: 4, y: 4, width: 20, height: 40 } },
    { class: 'car', confidence: 0.8, bbox: { x: 30, y: 20, width: 30, height: 20 } },
  ];
  const server = createServer(async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const isRefused = Buffer.concat(pieces).includes('filename="refused.png"');
    const picture = isRefused
      ? [422, { detail: 'cannot be read' }]
      : [200, { detections: found, inference_time_ms: 1, image_width: 64, image_height: 64 }];
    const [status, body] = request.url === '/health' ? [200, healthy] : picture;
    response
      .writeHead(Number(status), { 'Content-Type': 'application/json' })
      .end(JSON.stringify(body));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${address.port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Runs a program to its end and returns what it printed; any other exit code than 0 is an error
 * with both outputs.
 * @param {string} program
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptionsWithoutStdio} [options]
 * @returns {Promise<string>}
 */
export function run(program, args, options) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (chunk) => (stdout += chunk));
    child.stderr?.setEncoding('utf8').on('data', (chunk) => (stderr += chunk));
    const timer = setTimeout(() => child.kill('SIGKILL'), 4 * patienceMs);
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(stdout);
      else reject(new Error(`${program} ${args.join(' ')}: exit code ${code}\n${stdout}${stderr}`));
    });
  });
}

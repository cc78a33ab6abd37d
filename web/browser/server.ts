// The real program with a data folder of its own, for as long as a test needs it.
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { Client, type QueryResult } from 'pg';

const binary = process.env['HSI_BINARY'] ?? resolve(import.meta.dirname, '../../bin/hsi');
/** How long a test waits for what must happen, on a busy machine too. */
export const patienceMs = 120_000;

/** Waits until the condition holds, and says what was waited for when it does not. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
): Promise<void> {
  const end = Date.now() + patienceMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

async function freePort(): Promise<number> {
  return new Promise((done) => {
    const listener = createServer();
    listener.listen(0, '127.0.0.1', () => {
      const address = listener.address();
      listener.close(() =>
        done(typeof address === 'object' && address !== null ? address.port : 0),
      );
    });
  });
}

/** A running `hsi serve`, and what a test does to it. */
export class Server {
  readonly dataDir: string;
  readonly url: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #children: ChildProcess[] = [];
  #serve: ChildProcess | undefined;
  #demo: ChildProcess | undefined;
  #log = '';

  private constructor(dataDir: string, port: number, env: Record<string, string>) {
    this.dataDir = dataDir;
    this.url = `http://127.0.0.1:${port}/`;
    this.#env = {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      EMBEDDED_DEPS_DIR:
        process.env['EMBEDDED_DEPS_DIR'] ?? resolve(import.meta.dirname, '../../.deps'),
      DATA_DIR: dataDir,
      API_PORT: String(port),
      BATCH_WINDOW_SECONDS: '5',
      BATCH_IDLE_TIMEOUT_SECONDS: '2',
      ...env,
    };
  }

  /** Starts a server with settings of its own and waits until it is ready. */
  static async start(env: Record<string, string> = {}): Promise<Server> {
    const folder = mkdtempSync(join(tmpdir(), 'hsi-browser-'));
    chmodSync(folder, 0o755); // the databases run as another user
    const server = new Server(join(folder, 'data'), await freePort(), env);
    await server.up();
    return server;
  }

  /** Starts the process, also again after `kill`. */
  async up(): Promise<void> {
    this.#serve = this.#spawn('serve');
    await until(
      'the server is ready, has counted its files and says so in its health',
      async () => {
        if (this.#serve?.exitCode !== null) throw new Error(`the server ended:\n${this.#log}`);
        if (!(await this.#answers('ready')) || !(await this.#answers('api/system/storage')))
          return false;
        return !JSON.stringify(await this.get('health')).includes('not looked at yet'); // health is up to a second old
      },
    );
  }

  async #answers(path: string): Promise<boolean> {
    return fetch(this.url + path).then(
      (answer) => answer.ok,
      () => false,
    );
  }

  #spawn(...args: string[]): ChildProcess {
    const child = spawn(binary, args, { env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] });
    const keep = (text: Buffer) => (this.#log = (this.#log + text.toString()).slice(-20_000));
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    this.#children.push(child);
    return child;
  }

  /** What the API answers below /api/system/. */
  // eslint-disable-next-line typescript/no-explicit-any -- a test names what it reads, and fails when it is not there
  async get(path: string): Promise<any> {
    return (await fetch(`${this.url}api/system/${path}`)).json();
  }

  /** Lets real pictures flow until the server stops. */
  startDemo(): void {
    this.#demo = this.#spawn('demo', '--interval', '300ms');
  }

  /** Ends the flow of pictures. */
  async stopDemo(): Promise<void> {
    await ended(this.#demo, 'SIGTERM');
  }

  /**
   * Puts a file into a camera's folder, as a camera does: written beside, then moved into its
   * place.
   */
  upload(camera: string, name: string, content: Buffer): void {
    const folder = join(this.dataDir, 'cameras', camera);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), content);
  }

  /** One of the pictures that the demo has written so far; undefined where there are fewer. */
  demoPicture(at = 0): Buffer | undefined {
    const folder = join(this.dataDir, 'cameras', 'demo');
    try {
      const name = readdirSync(folder, { recursive: true })
        .map(String)
        .filter((entry) => entry.endsWith('.jpg'))
        .toSorted()
        .at(at);
      return name === undefined ? undefined : readFileSync(join(folder, name));
    } catch {
      return undefined;
    }
  }

  /**
   * Asks the server's database directly, for what the API cannot do: old records, readings of a GPU
   * that is not there.
   */
  async sql(text: string, values: unknown[] = []): Promise<QueryResult> {
    const client = new Client({ host: this.#postmaster().socketDir, user: 'hsi', database: 'hsi' });
    await client.connect();
    try {
      return await client.query(text, values);
    } finally {
      await client.end();
    }
  }

  #postmaster(): { pid: number; socketDir: string } {
    const file = findFile(join(this.dataDir, 'postgres'), 'postmaster.pid');
    const lines = readFileSync(file, 'utf8').split('\n');
    return { pid: Number(lines[0]), socketDir: lines[4] ?? '' };
  }

  /** Freezes PostgreSQL with all its processes: connections stay open and nothing answers. */
  freezePostgres(): void {
    for (const pid of this.#postgresPids()) process.kill(pid, 'SIGSTOP');
  }

  /** Lets it go on. */
  thawPostgres(): void {
    for (const pid of this.#postgresPids()) process.kill(pid, 'SIGCONT');
  }

  #postgresPids(): number[] {
    const { pid } = this.#postmaster();
    const children = readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .filter((entry) => parentOf(entry) === pid);
    return [pid, ...children.map(Number)];
  }

  /** Freezes the server itself: connections are accepted and nothing answers. */
  freeze(): void {
    this.#serve?.kill('SIGSTOP');
  }

  /** Lets it go on. */
  thaw(): void {
    this.#serve?.kill('SIGCONT');
  }

  /** Ends the server without any chance to clean up. */
  async kill(): Promise<void> {
    await ended(this.#serve, 'SIGKILL');
  }

  /** Ends everything and removes the data. */
  async stop(): Promise<void> {
    await Promise.all(this.#children.map((child) => ended(child, 'SIGTERM')));
    rmSync(resolve(this.dataDir, '..'), { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((done) => child.once('exit', done));
  child.kill(signal);
  await exit;
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1]);
  } catch {
    return undefined; // it has just ended
  }
}

function findFile(folder: string, name: string): string {
  const found = readdirSync(folder, { recursive: true })
    .map(String)
    .find((entry) => entry.split('/').at(-1) === name);
  if (found === undefined) throw new Error(`no ${name} below ${folder}`);
  return join(folder, found);
}

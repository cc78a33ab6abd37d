// A proxy in front of the server, as people have one: below a path, and it can be shut.
import {
  type IncomingMessage,
  type Server as Proxy,
  type ServerResponse,
  createServer,
  request,
} from 'node:http';
import type { AddressInfo } from 'node:net';

import type { Server } from './server.ts';

export class Gate {
  readonly url: string;
  /** Connections to the live stream that are open now. */
  streams = 0;
  readonly #proxy: Proxy;
  readonly #pipes = new Set<IncomingMessage>();
  #isShut = false;

  private constructor(proxy: Proxy, path: string) {
    this.#proxy = proxy;
    this.url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${path}`;
  }

  /** Opens one that serves the server below a path, which it takes away. */
  static async open(server: Server, path: string): Promise<Gate> {
    const proxy = createServer();
    await new Promise<void>((done) => {
      proxy.listen(0, '127.0.0.1', done);
    });
    const gate = new Gate(proxy, path);
    proxy.on('request', (incoming: IncomingMessage, answer: ServerResponse) =>
      gate.#pass(server, path, incoming, answer),
    );
    return gate;
  }

  /** Cuts all connections and lets none through. */
  shut(): void {
    this.#isShut = true;
    this.#proxy.closeAllConnections();
  }

  /** Lets nothing through, and closes nothing: as to a computer that is asleep. */
  freeze(): void {
    for (const pipe of this.#pipes) pipe.pause();
  }

  letThrough(): void {
    this.#isShut = false;
  }

  async close(): Promise<void> {
    this.#proxy.closeAllConnections();
    await new Promise((done) => {
      this.#proxy.close(done);
    });
  }

  #pass(server: Server, path: string, incoming: IncomingMessage, answer: ServerResponse): void {
    const { headers, method, url = '' } = incoming;
    if (this.#isShut || !url.startsWith(path)) {
      incoming.socket.destroy();
      return;
    }
    const target = new URL(url.slice(path.length), server.url);
    const isStream = target.pathname === '/api/events/stream';
    if (isStream) this.streams += 1;
    const onward = request(target, { method, headers: { ...headers, host: target.host } });
    onward.on('response', (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
      this.#pipes.add(response);
      answer.on('close', () => this.#pipes.delete(response));
    });
    onward.on('error', () => answer.destroy());
    answer.on('close', () => {
      if (isStream) this.streams -= 1;
      onward.destroy();
    });
    incoming.pipe(onward);
  }
}

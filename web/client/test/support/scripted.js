// An HTTP server that answers what a test says, for the hand-written part of the client.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { afterEach, beforeEach } from 'node:test';

/** @typedef {{ method: string, url: string, headers: import('node:http').IncomingHttpHeaders, body: string }} Seen */
/** @typedef {import('node:http').ServerResponse} Response */

/** Starts one before each test of a file. */
export function scriptedServer() {
  const script = {
    /** @type {Seen[]} */ seen: [],
    /** @type {(request: Seen, response: Response) => void} */ answer: () => {},
    baseUrl: '',
  };
  /** @type {import('node:http').Server} */ let server;

  beforeEach(async () => {
    script.seen = [];
    script.answer = (_, response) => json(response, 200, {});
    server = createServer(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      const { method = '', url = '', headers } = request;
      script.seen.push({ method, url, headers, body });
      script.answer({ method, url, headers, body }, response);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    script.baseUrl = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;
  });

  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  return script;
}

/**
 * @param {Response} response
 * @param {number} status
 * @param {unknown} body
 * @param {Record<string, string>} [headers]
 */
export function json(response, status, body, headers) {
  response
    .writeHead(status, { 'Content-Type': 'application/json', ...headers })
    .end(JSON.stringify(body));
}

/**
 * Takes the connection away, after what was written.
 * @param {Response} response
 */
export function cut(response) {
  response.socket?.destroySoon();
}

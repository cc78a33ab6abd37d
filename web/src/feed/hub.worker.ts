// One connection to the live stream for all pages of a browser.
import { createClient } from '@hsi/client';

import { Hub, type ToHub, openStreamOf } from './hub.ts';

declare const self: EventTarget & { name: string };

// The page names the worker by the address of its server.
const hub = new Hub(openStreamOf(createClient({ baseUrl: self.name })));

self.addEventListener('connect', (event) => {
  const [port] = (event as MessageEvent).ports;
  if (port === undefined) return;
  const follower = (message: unknown) => port.postMessage(message);
  port.addEventListener('message', ({ data }: MessageEvent<ToHub>) => hub.take(follower, data));
  port.start();
});

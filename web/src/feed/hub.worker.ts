// One connection to the live stream for all pages of a browser.
import { createClient } from '@hsi/client';

import { Hub, type ToHub, openStreamOf } from './hub.ts';

declare const self: {
  name: string;
  onconnect: ((event: MessageEvent) => void) | null;
};

// The page names the worker by the address of its server.
const hub = new Hub(openStreamOf(createClient({ baseUrl: self.name })));

self.onconnect = ({ ports: [port] }) => {
  if (port === undefined) return;
  const follower = (message: unknown) => port.postMessage(message);
  port.onmessage = ({ data }: MessageEvent<ToHub>) => hub.take(follower, data);
};

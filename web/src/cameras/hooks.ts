import { useComputed } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import type { Change } from '../feed/feed.ts';
import { Poller } from '../live/poller.ts';
import type { Store } from '../store.ts';
import { calm } from './calm.ts';
import { Gate } from './gate.ts';

/** The server makes two pictures at a time; for more than a few it has no time. */
const picturesAtOnce = 2;
/** Lists are read anew at most this often because of what the live stream says. */
const pauseMs = 5_000;

/** Names the page in the browser's tab. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** Whether the connection to the server is lost. Draws nothing anew with each heartbeat. */
export function useIsLost(store: Store): boolean {
  return useComputed(() => store.live.connection.value.state === 'lost').value;
}

/** Whether there is sense in asking the server: the page is visible, and the server was there. */
export function useIsAwake(store: Store): boolean {
  const [isVisible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const onVisibility = () => setVisible(!document.hidden);
    document.addEventListener('visibilitychange', onVisibility);
    return () => document.removeEventListener('visibilitychange', onVisibility);
  }, []);
  const isLost = useIsLost(store);
  return isVisible && !isLost;
}

/** Whether an element is in view, or nearly. */
export function useIsInView(place: RefObject<Element | null>): boolean {
  const [isInView, setInView] = useState(false);
  useEffect(() => {
    if (place.current === null) return undefined;
    const observer = new IntersectionObserver(
      (entries) => setInView(entries.at(-1)?.isIntersecting ?? false),
      { rootMargin: '200px' },
    );
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [place]);
  return isInView;
}

/** Lets the pictures of one page come one after the other. */
export function useGate(): Gate {
  const [gate] = useState(() => new Gate(picturesAtOnce));
  return gate;
}

/** Asks one question again and again while the component is on a page that is looked at. */
export function usePoller<T>(
  store: Store,
  intervalMs: number,
  load: (signal: AbortSignal) => Promise<T>,
): Poller<T> {
  const [poller] = useState(() => new Poller(intervalMs, load));
  const isAwake = useIsAwake(store);
  useEffect(() => {
    if (!isAwake) return undefined;
    poller.start();
    return () => poller.stop();
  }, [poller, isAwake]);
  return poller;
}

/** Asks anew soon after a change that concerns the question, not too often. */
export function useRefresh(
  store: Store,
  poller: Poller<unknown>,
  concerns: (change: Change) => boolean,
): void {
  const latest = useRef(concerns);
  latest.current = concerns;
  useEffect(() => {
    const { ask, stop } = calm(pauseMs, () => poller.refresh());
    const end = store.feed.onChange((change) => latest.current(change) && ask());
    return () => {
      end();
      stop();
    };
  }, [store, poller]);
}

/**
 * Keeps the times of the newest pictures current. A new picture alone is no change that the live
 * stream tells; an event is made of pictures.
 */
export function useNewPictures(store: Store): void {
  useRefresh(store, store.cameras, ({ kind }) => kind === 'event');
}

import { expect, test } from 'vitest';

import { type Browser, Router, routeOf } from './router.ts';

test('addresses and what they stand for', () => {
  expect(routeOf('')).toEqual({ page: 'home' });
  expect(routeOf('system')).toEqual({ page: 'system' });
  expect(routeOf('cameras')).toEqual({ page: 'cameras' });
  expect(routeOf('cameras/front%20door')).toEqual({ page: 'camera', cameraId: 'front door' });
  expect(routeOf('events/12')).toEqual({ page: 'event', eventId: 12 });
  for (const odd of [
    'events',
    'events/',
    'events/x',
    'events/0',
    'events/1/2',
    'cameras/',
    'docs',
    'cameras/%',
  ])
    expect(routeOf(odd), odd).toEqual({ page: 'unknown' });
});

/** A browser at an address, with a history. */
function browserAt(href: string) {
  const listeners = new Map<string, (event: unknown) => void>();
  const entries = [{ href, state: null as unknown }];
  let at = 0;
  const browser = {
    scrollY: 0,
    scrolledTo: -1,
    location: { href },
    history: {
      state: null as unknown,
      scrollRestoration: 'auto',
      pushState(state: unknown, _: string, url: string) {
        entries.splice(at + 1, Infinity, { href: url, state });
        at += 1;
        browser.location.href = url;
      },
      replaceState(state: unknown, _: string, url?: string) {
        entries[at] = { href: url ?? browser.location.href, state };
        browser.location.href = url ?? browser.location.href;
      },
    },
    /** How far the page can be scrolled now. */
    furthest: Infinity,
    scrollTo: ({ top }: { top: number }) => {
      browser.scrolledTo = top;
      browser.scrollY = Math.min(top, browser.furthest);
    },
    addEventListener: (kind: string, listener: (event: unknown) => void) =>
      listeners.set(kind, listener),
    removeEventListener: (kind: string) => listeners.delete(kind),
  };
  const back = () => {
    at -= 1;
    browser.location.href = entries[at]?.href ?? '';
    listeners.get('popstate')?.({ state: entries[at]?.state ?? null });
  };
  return { browser, back, listeners };
}

test('below a path: there, back again, and to where it was scrolled', () => {
  const { back, browser, listeners } = browserAt('http://nas/hsi/?days=7');
  const router = new Router('http://nas/hsi/', browser as unknown as Browser);
  const end = router.run();
  expect(router.link('api/events')).toBe('http://nas/hsi/api/events');
  browser.scrollY = 1200;
  router.go('events/12');
  expect(browser.location.href).toBe('http://nas/hsi/events/12');
  expect(router.route.value).toEqual({ page: 'event', eventId: 12 });
  router.scrollToKnown();
  expect(browser.scrolledTo).toBe(0);
  back();
  expect(router.route.value).toEqual({ page: 'home' });
  expect(router.query.value).toBe('?days=7');
  browser.furthest = 0; // its list is not drawn yet
  router.scrollToKnown();
  expect(browser.scrollY).toBe(0);
  browser.furthest = Infinity;
  router.scrollToKnown();
  expect(browser.scrollY).toBe(1200);
  browser.scrollY = 1500; // by hand
  router.scrollToKnown();
  expect(browser.scrollY).toBe(1500);
  router.replaceQuery('?days=1');
  expect(browser.location.href).toBe('http://nas/hsi/?days=1');
  expect(router.visits.value).toBe(2);
  end();
  expect(listeners.size).toBe(0);
});

test('only clicks on our own pages are caught', () => {
  const { browser, listeners } = browserAt('http://nas/hsi/system');
  const router = new Router('http://nas/hsi/', browser as unknown as Browser);
  router.run();
  const click = (href: string, more: object = {}) => {
    let isPrevented = false;
    listeners.get('click')?.({
      button: 0,
      target: { closest: () => ({ href, target: '', hasAttribute: () => false }) },
      preventDefault: () => (isPrevented = true),
      ...more,
    });
    return isPrevented;
  };
  expect(click('http://nas/hsi/events/1')).toBe(true);
  expect(click('http://nas/hsi/cameras')).toBe(true);
  expect(click('http://nas/hsi/cameras#main')).toBe(false);
  expect(click('http://nas/hsi/docs')).toBe(false);
  expect(click('http://nas/other')).toBe(false);
  expect(click('http://elsewhere/hsi/events/1')).toBe(false);
  expect(click('http://nas/hsi/events/1', { ctrlKey: true })).toBe(false);
  expect(click('http://nas/hsi/events/1', { button: 1 })).toBe(false);
});

import { type ReadonlySignal, computed, signal } from '@preact/signals';

/** Which page an address stands for. */
export type Route =
  | { page: 'home' }
  | { page: 'event'; eventId: number }
  | { page: 'cameras' }
  | { page: 'camera'; cameraId: string }
  | { page: 'system' }
  | { page: 'unknown' };

/** Reads the path below the root of the server, such as `events/12`. */
export function routeOf(path: string): Route {
  const [first = '', second, ...rest] = path.split('/');
  if (rest.length > 0) return { page: 'unknown' };
  if (second === undefined) {
    if (first === '') return { page: 'home' };
    if (first === 'cameras' || first === 'system') return { page: first };
    return { page: 'unknown' };
  }
  if (first === 'events' && /^[1-9][0-9]{0,15}$/.test(second))
    return { page: 'event', eventId: Number(second) };
  const cameraId = decoded(second);
  if (first === 'cameras' && cameraId !== undefined && cameraId !== '')
    return { page: 'camera', cameraId };
  return { page: 'unknown' };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** What an entry of the browser's history remembers beside its address. */
interface Remembered {
  scrollY: number;
}

/** The parts of the browser that a router needs. */
export type Browser = Pick<
  Window,
  'history' | 'location' | 'scrollY' | 'scrollTo' | 'addEventListener' | 'removeEventListener'
>;

/**
 * The address of the page: what it stands for, and how to go elsewhere without loading the page
 * anew. Links are ordinary links; a click on one that leads to a page of ours is caught.
 */
export class Router {
  readonly route: ReadonlySignal<Route>;
  /** What stands behind the question mark. */
  readonly query: ReadonlySignal<string>;
  /** Counts the pages that were gone to; 0 while the first one is shown. */
  readonly visits = signal(0);
  readonly #root: URL;
  readonly #browser: Browser;
  readonly #url;

  /** `root` is where the server is: the page may be served below a path. */
  constructor(root: string, browser: Browser) {
    this.#root = new URL(root);
    this.#browser = browser;
    this.#url = signal(new URL(browser.location.href));
    // By its text: a change of the query alone draws no page anew.
    const path = computed(() => this.#pathOf(this.#url.value) ?? '/');
    this.route = computed(() => routeOf(path.value));
    this.query = computed(() => this.#url.value.search);
  }

  /** The address of a page of ours: `link('events/12')`. */
  link(path: string): string {
    return new URL(path, this.#root).href;
  }

  /** Goes to a page of ours. */
  go(path: string): void {
    this.#remember();
    this.#browser.history.pushState(null, '', this.link(path));
    this.#arrive(0);
  }

  /** Changes what stands behind the question mark, without a new entry in the history. */
  replaceQuery(query: string): void {
    const url = new URL(this.#url.peek());
    url.search = query;
    if (url.href === this.#url.peek().href) return;
    this.#browser.history.replaceState(this.#browser.history.state, '', url.href);
    this.#url.value = url;
  }

  /** Follows the browser; the function that it returns ends that. */
  run(): () => void {
    const { history } = this.#browser;
    history.scrollRestoration = 'manual'; // what stands where is known only when the page is drawn
    const onPop = (event: PopStateEvent) =>
      this.#arrive((event.state as Remembered | null)?.scrollY ?? 0);
    const onClick = (event: MouseEvent) => this.#click(event);
    const onLeave = () => this.#remember();
    this.#browser.addEventListener('popstate', onPop);
    this.#browser.addEventListener('click', onClick);
    this.#browser.addEventListener('pagehide', onLeave);
    return () => {
      this.#browser.removeEventListener('popstate', onPop);
      this.#browser.removeEventListener('click', onClick);
      this.#browser.removeEventListener('pagehide', onLeave);
    };
  }

  /**
   * Scrolls to where the page was when it was left, once it is drawn. A page that has its full
   * height only later asks again then; once it is there the reader alone scrolls.
   */
  scrollToKnown(): void {
    if (this.#scrollY === undefined) return;
    this.#browser.scrollTo({ top: this.#scrollY, behavior: 'instant' });
    if (this.#browser.scrollY >= this.#scrollY - 1) this.#scrollY = undefined;
  }

  #scrollY: number | undefined;

  #arrive(scrollY: number): void {
    const before = this.route.peek();
    this.#scrollY = scrollY;
    this.#url.value = new URL(this.#browser.location.href);
    if (before !== this.route.peek()) this.visits.value += 1;
  }

  #remember(): void {
    const { history, scrollY } = this.#browser;
    history.replaceState({ scrollY } satisfies Remembered, '');
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a');
    if (!link || link.target !== '' || link.hasAttribute('download')) return;
    const url = new URL(link.href, this.#browser.location.href);
    const path = this.#pathOf(url);
    if (path === undefined || routeOf(path).page === 'unknown') return;
    const here = this.#url.peek();
    if (url.hash !== '' && url.pathname === here.pathname) return; // a place on this page
    event.preventDefault();
    this.go(path + url.search + url.hash);
  }

  /** The path below the root; undefined where the address is not below it. */
  #pathOf(url: URL): string | undefined {
    const { origin, pathname } = this.#root;
    if (url.origin !== origin || !url.pathname.startsWith(pathname)) return undefined;
    return url.pathname.slice(pathname.length);
  }
}

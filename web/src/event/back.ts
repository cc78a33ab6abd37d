import { routeOf } from '../router/router.ts';

/** The part of the browser's list of pages that is needed; not every browser has it. */
export interface Visited {
  entries(): readonly { url: string | null; index: number }[];
  currentEntry: { index: number } | null;
}

/**
 * How many steps back in the browser's history the list of events lies, with its filters and where
 * it was scrolled to; undefined where it was not passed on the way here.
 */
export function stepsToList(visited: Visited | undefined, root: string): number | undefined {
  const here = visited?.currentEntry?.index;
  if (visited === undefined || here === undefined) return undefined;
  for (const { index, url } of visited.entries().toReversed()) {
    if (index >= here) continue;
    const { page } = routeOf(pathOf(url, root));
    if (page === 'home') return here - index;
    if (page !== 'event') return undefined; // somebody came from somewhere else
  }
  return undefined;
}

function pathOf(url: string | null, root: string): string {
  if (url === null || !url.startsWith(root)) return 'elsewhere';
  return new URL(url).pathname.slice(new URL(root).pathname.length);
}

import type { Store } from '../store.ts';

/** What to do while there is no camera yet. */
export function FirstSteps(_: { store: Store }) {
  return null;
}

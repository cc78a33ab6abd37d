import type { Store } from '../store.ts';

/** The cameras in a row, each with its newest picture and how old it is. */
export function CameraStrip(_: { store: Store }) {
  return null;
}

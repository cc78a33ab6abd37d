import type { Store } from '../store.ts';

/** All cameras, each with its newest picture. */
export function CamerasPage(_: { store: Store }) {
  return <h1>Cameras</h1>;
}

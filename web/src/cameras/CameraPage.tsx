import type { Store } from '../store.ts';

/** One camera: its newest picture, what it sent, its name. */
export function CameraPage({ cameraId }: { store: Store; cameraId: string }) {
  return <h1>{cameraId}</h1>;
}

import { CameraStrip } from '../cameras/CameraStrip.tsx';
import { FirstSteps } from '../cameras/FirstSteps.tsx';
import type { Store } from '../store.ts';

/** What happened: the events of a span of days, the newest first. */
export function HomePage({ store }: { store: Store }) {
  const cameras = store.cameras.state.value.value;
  if (cameras?.count === 0) return <FirstSteps store={store} />;
  return (
    <>
      <h1>What happened</h1>
      <CameraStrip store={store} />
    </>
  );
}

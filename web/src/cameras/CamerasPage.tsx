import { plural } from '../format.ts';
import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { AddCamera } from './AddCamera.tsx';
import { CameraCard } from './CameraCard.tsx';
import { useGate, useNewPictures, useTitle } from './hooks.ts';
import { Steps } from './FirstSteps.tsx';

/** All cameras, each with its newest picture. */
export function CamerasPage({ store }: { store: Store }) {
  useTitle('Cameras');
  useNewPictures(store);
  const gate = useGate();
  return (
    <div class="cameras-page">
      <div class="camera-head">
        <h1>Cameras</h1>
        <Age live={store.live} source={store.cameras} />
      </div>
      <Fresh live={store.live} source={store.cameras}>
        {({ cameras, count }) =>
          count === 0 ? (
            <section class="panel" aria-label="First steps">
              <h2>No camera yet</h2>
              <Steps store={store} />
            </section>
          ) : (
            <ul class="camera-cards" aria-label={plural(count, 'camera')}>
              {cameras.map((camera) => (
                <li key={camera.id}>
                  <CameraCard store={store} gate={gate} camera={camera} width={640} />
                </li>
              ))}
            </ul>
          )
        }
      </Fresh>
      <AddCamera store={store} />
    </div>
  );
}

import type { Store } from '../store.ts';
import { Fresh } from '../ui/Fresh.tsx';
import { CameraCard } from './CameraCard.tsx';
import { useGate, useNewPictures } from './hooks.ts';

/** The cameras in a row, each with its newest picture and how old it is. */
export function CameraStrip({ store }: { store: Store }) {
  useNewPictures(store);
  const gate = useGate();
  return (
    <section class="camera-strip" aria-labelledby="camera-strip-title">
      <h2 id="camera-strip-title" class="visually-hidden">
        Cameras
      </h2>
      <Fresh live={store.live} source={store.cameras}>
        {({ cameras }) => (
          <ul>
            {cameras.map((camera) => (
              <li key={camera.id}>
                <CameraCard store={store} gate={gate} camera={camera} width={320} />
              </li>
            ))}
          </ul>
        )}
      </Fresh>
    </section>
  );
}

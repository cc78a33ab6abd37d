import type { Store } from '../store.ts';
import { CameraFolder } from './Upload.tsx';

/** What to do while there is no camera yet. */
export function FirstSteps({ store }: { store: Store }) {
  return (
    <section class="panel camera-first" aria-labelledby="first-steps-title">
      <h1 id="first-steps-title">No camera yet</h1>
      <p class="lead">Three steps to the first picture.</p>
      <Steps store={store} />
    </section>
  );
}

/** The three steps. */
export function Steps({ store }: { store: Store }) {
  return (
    <>
      <ol class="camera-steps">
        <li>
          Make a folder for the camera, such as <code>front-door</code>, inside <CameraFolder />, or{' '}
          <a href={store.router.link('cameras')}>add the camera here</a>.
        </li>
        <li>
          Let the camera upload its pictures into that folder: by an FTP server on this machine, or
          as a shared folder.
        </li>
        <li>
          No camera at hand? Type <code>make demo</code> beside <code>make run</code>, or{' '}
          <code>hsi demo</code>: it uploads pictures with moving objects.
        </li>
      </ol>
      <p role="status" class="quiet">
        Waiting for the first picture. It appears here by itself.
      </p>
    </>
  );
}

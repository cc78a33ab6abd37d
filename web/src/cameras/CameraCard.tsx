import type { Camera, CameraStatus } from '@hsi/client';

import type { Store } from '../store.ts';
import { LevelIcon } from '../ui/Icon.tsx';
import type { Gate } from './gate.ts';
import { Picture } from './Picture.tsx';
import { PictureAge } from './PictureAge.tsx';
import { wordStatus } from './words.ts';

/** The address of a camera's page, below the root. */
export function pathOf({ id }: Pick<Camera, 'id'>): string {
  return `cameras/${encodeURIComponent(id)}`;
}

/** A camera as a link to its page: its newest picture, its name, how old the picture is. */
export function CameraCard({
  camera,
  gate,
  store,
  width,
}: {
  store: Store;
  gate: Gate;
  camera: Camera;
  width: 320 | 640;
}) {
  return (
    <a class="camera-card" href={store.router.link(pathOf(camera))}>
      <Picture store={store} gate={gate} camera={camera} width={width} />
      <span class="camera-name">{camera.name}</span>{' '}
      <span class="camera-line">
        {camera.last_seen_at !== null && (
          <PictureAge store={store} lastSeenAt={camera.last_seen_at} source={store.cameras} />
        )}{' '}
        <Status status={camera.status} />
      </span>
    </a>
  );
}

/** Whether a camera is online, where somebody wants to know that. */
export function Status({ status }: { status: CameraStatus | null }) {
  const text = wordStatus(status);
  if (text === undefined) return null;
  const level = status === 'online' ? 'good' : 'limited';
  return (
    <span class={`camera-status word level-${level}`}>
      <LevelIcon level={level} /> {text}
    </span>
  );
}

import { type Camera, getCameraSnapshot } from '@hsi/client';
import { useSignal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';

import { askPrivate } from '../access/private.ts';
import type { Store } from '../store.ts';
import type { Gate } from './gate.ts';
import { useIsAwake, useIsInView, useIsLost } from './hooks.ts';
import { Reloader } from './reloader.ts';

const notNow = 'Not available now';

interface PictureProps {
  store: Store;
  gate: Gate;
  camera: Pick<Camera, 'id' | 'last_seen_at'>;
  /** Of the picture to load, in pixels; the whole picture without it. */
  width?: 320 | 640;
  /** For those who do not see it; undefined where everything about it stands beside it. */
  label?: string;
}

/**
 * The newest picture of a camera. It is always at the same address, where an image element would
 * not look again, so it is painted; the old one stays until the new one is there.
 */
export function Picture({ camera, gate, label, store, width }: PictureProps) {
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  /** Why there is no picture; undefined while it is loaded; null when it is there. */
  const absence = useSignal<string | null | undefined>(undefined);
  const { id, last_seen_at: lastSeenAt } = camera;

  /** Why there is none, or null. Fails where another try may bring one. */
  const load = async (signal: AbortSignal): Promise<string | null> => {
    signal.throwIfAborted();
    const query = width === undefined ? {} : { width };
    const asked = getCameraSnapshot(store.client, { path: { camera_id: id }, query, signal });
    const { status } = await asked;
    if (status === 404) return 'No picture to show';
    if (status === 410) return 'The newest picture was deleted';
    const file = await askPrivate(store.access, asked);
    const picture = await createImageBitmap(file).catch(() => undefined);
    signal.throwIfAborted();
    if (picture === undefined) return 'The newest picture cannot be shown';
    paint(picture, canvas.current);
    return null;
  };
  const [reloader] = useState(
    () =>
      new Reloader(async (signal) => {
        try {
          absence.value = await gate.run(() => load(signal));
        } catch (error) {
          // What was painted before stays.
          if (!signal.aborted && absence.value === undefined) absence.value = notNow;
          throw error;
        }
      }),
  );

  const isInView = useIsInView(frame);
  const isWanted = useIsAwake(store) && isInView;
  useEffect(() => reloader.want(lastSeenAt ?? undefined), [reloader, lastSeenAt]);
  useEffect(() => {
    reloader.watch(isWanted);
    return () => reloader.watch(false);
  }, [reloader, isWanted]);

  const isThere = lastSeenAt !== null && absence.value === null;
  const waiting = useIsLost(store) ? notNow : 'Loading…';
  const words = lastSeenAt === null ? 'No picture yet' : (absence.value ?? waiting);
  return (
    <div ref={frame} class="camera-picture">
      <canvas
        ref={canvas}
        hidden={!isThere}
        {...(label === undefined ? { 'aria-hidden': true } : { role: 'img', 'aria-label': label })}
      />
      {!isThere && <span class="camera-absence">{words}</span>}
    </div>
  );
}

/** Puts a picture in the place of the one before, without a moment between them. */
function paint(picture: ImageBitmap, canvas: HTMLCanvasElement | null): void {
  if (canvas !== null) {
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext('2d')?.drawImage(picture, 0, 0);
  }
  picture.close();
}

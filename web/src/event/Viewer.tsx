import { type Client, StatusError, getDetectionOriginal } from '@hsi/client';
import { useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import type { Access } from '../access/access.ts';
import { askPrivate } from '../access/private.ts';
import { plural } from '../format.ts';
import { toProblem } from '../live/problem.ts';
import type { Store } from '../store.ts';
import { Moment } from './Moment.tsx';
import { type Picture, boxesOf, contentOf, firstPlace, labelOf, placeOf } from './pictures.ts';
import type { Clock } from './words.ts';

interface ViewerProps {
  store: Store;
  clock: Clock;
  pictures: readonly Picture[];
  /** All pictures are known. */
  isWhole: boolean;
}

/** The pictures of an event, one large with its boxes, and all of them in a strip. */
export function Viewer({ store, clock, pictures, isWhole }: ViewerProps) {
  const chosen = useSignal<{ key: string; place: number } | undefined>(undefined);
  const hasBoxes = useSignal(true);
  const section = useRef<HTMLElement>(null);
  const place =
    chosen.value === undefined
      ? firstPlace(pictures)
      : placeOf(pictures, chosen.value.key, chosen.value.place);
  const picture = pictures[place];
  const go = (to: number) => {
    const next = pictures[to];
    if (next === undefined) return;
    chosen.value = { key: next.key, place: to };
  };

  const onKey = useRef<(event: KeyboardEvent) => void>(() => undefined);
  onKey.current = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const isInside = target instanceof Node && section.current?.contains(target) === true;
    const isNowhere = target === document.body || (target as Element | null)?.id === 'main';
    const to = targetOf(event.key, place, pictures.length);
    if (to !== undefined && (isInside || isNowhere)) {
      event.preventDefault();
      go(to);
      if (isInside) followFocus(section.current, to);
    } else if (isInside && event.key.toLowerCase() === 'b' && !event.shiftKey) {
      hasBoxes.value = !hasBoxes.value;
    }
  };
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKey.current(event);
    document.addEventListener('keydown', listener);
    return () => document.removeEventListener('keydown', listener);
  }, []);

  if (picture === undefined) {
    return (
      <section class="panel ev-viewer" aria-label="Pictures">
        <p class="quiet">
          {isWhole ? 'There are no pictures of this event.' : 'Loading the pictures…'}
        </p>
      </section>
    );
  }
  const ratio = ratioOf(pictures);
  return (
    <section ref={section} class="ev-viewer" aria-label="Pictures">
      <Large
        store={store}
        picture={picture}
        ratio={ratio}
        hasBoxes={hasBoxes.value}
        alt={`Picture ${place + 1} of ${pictures.length}: ${contentOf(picture)}`}
        onBoxes={(shown) => (hasBoxes.value = shown)}
        bar={
          <>
            <button
              type="button"
              class="button is-small"
              aria-disabled={place === 0}
              onClick={() => go(place - 1)}
            >
              <span aria-hidden="true">←</span> Previous
            </button>
            <p class="ev-place" role="status">
              Picture {place + 1} of {pictures.length}
              {!isWhole && ' and more'},{' '}
              <Moment ms={picture.takenAtMs} clock={clock}>
                {clock.seconds(picture.takenAtMs)}
              </Moment>
            </p>
            <button
              type="button"
              class="button is-small"
              aria-disabled={place === pictures.length - 1}
              onClick={() => go(place + 1)}
            >
              Next <span aria-hidden="true">→</span>
            </button>
          </>
        }
      />
      {pictures.length > 1 && (
        <Strip store={store} clock={clock} pictures={pictures} place={place} onChoose={go} />
      )}
      <p class="hint ev-keys">
        Keys: <kbd>←</kbd> <kbd>→</kbd> other pictures, <kbd>b</kbd> boxes
      </p>
    </section>
  );
}

/** Where a key leads; undefined for other keys. */
function targetOf(key: string, place: number, count: number): number | undefined {
  switch (key) {
    case 'ArrowLeft':
      return Math.max(0, place - 1);
    case 'ArrowRight':
      return Math.min(count - 1, place + 1);
    default:
      return undefined;
  }
}

/** In the strip the focus goes along with the picture. */
function followFocus(section: HTMLElement | null, place: number): void {
  if (document.activeElement?.closest('.ev-strip') === null) return;
  section?.querySelectorAll<HTMLElement>('.ev-strip button')[place]?.focus();
}

/** One frame for all pictures, so that nothing moves from one to the next. */
function ratioOf(pictures: readonly Picture[]): number {
  const size = pictures.find((picture) => picture.size !== undefined)?.size;
  // Narrow strips and towers would leave no room for anything else.
  return size === undefined ? 4 / 3 : Math.min(2.4, Math.max(0.8, size.width / size.height));
}

/** Where the large picture comes from, and why not from the camera's own file. */
type Source =
  | { kind: 'original' }
  | { kind: 'asking' }
  | { kind: 'small'; why: string }
  | { kind: 'none'; why: string; mayRetry: boolean };

interface LargeProps {
  store: Store;
  picture: Picture;
  ratio: number;
  hasBoxes: boolean;
  alt: string;
  onBoxes: (shown: boolean) => void;
  bar: ComponentChildren;
}

/** How far the picture with this key has come. */
interface Progress {
  key: string;
  source: Source;
  isLoaded: boolean;
  tries: number;
}

function atFirst({ isVideo, key }: Picture, tries = 0): Progress {
  const source: Source = isVideo
    ? { kind: 'small', why: 'This is a still from a video.' }
    : { kind: 'original' };
  return { key, source, isLoaded: false, tries };
}

function Large({ store, picture, ratio, hasBoxes, alt, onBoxes, bar }: LargeProps) {
  const { access, client, router } = store;
  // The parts around the picture stay when it changes, with the focus that is in them.
  const state = useSignal<Progress>(atFirst(picture));
  const progress = state.value.key === picture.key ? state.value : atFirst(picture);
  const { isLoaded, source, tries } = progress;
  const { best, size } = picture;
  const boxes = boxesOf(picture);
  const original = router.link(`api/media/detections/${best.id}`);
  const small = router.link(`api/detections/${best.id}/image`);
  const { kind } = source;
  const isDrawn = kind === 'original' && isLoaded && hasBoxes && boxes.length > 0;

  const become = (source: Source) => (state.value = { ...progress, source, isLoaded: false });
  const explain = async () => {
    if (source.kind === 'small') {
      const why = picture.isVideo ? 'no still of this video can be shown.' : source.why;
      become({ kind: 'none', why, mayRetry: true });
      return;
    }
    become({ kind: 'asking' });
    const next = await whyNotOriginal(client, access, best.id);
    const { key, tries } = state.value;
    if (key === picture.key && tries === progress.tries) become(next);
  };

  return (
    <figure class="ev-figure">
      <div class="ev-frame" style={{ aspectRatio: String(ratio) }}>
        {kind !== 'none' && !isLoaded && (
          <p class="ev-wait" aria-hidden="true">
            Loading the picture…
          </p>
        )}
        {(kind === 'original' || kind === 'small') && (
          <div
            class={size === undefined || kind === 'small' ? 'ev-canvas is-whole' : 'ev-canvas'}
            style={size === undefined ? {} : { '--ratio': String(size.width / size.height) }}
          >
            <img
              key={`${picture.key} ${kind} ${tries}`}
              src={kind === 'original' ? original : small}
              alt={alt}
              decoding="async"
              onLoad={() => (state.value = { ...progress, isLoaded: true })}
              onError={() => void explain()}
            />
            {isDrawn && (
              <ul class="ev-boxes" aria-hidden="true">
                {boxes.map(({ id, label, left, top, width, height }) => (
                  <li
                    key={id}
                    class={boxClass(left, top)}
                    style={{
                      left: `${left}%`,
                      top: `${top}%`,
                      width: `${width}%`,
                      height: `${height}%`,
                    }}
                  >
                    <span>{label}</span>
                  </li>
                ))}
              </ul>
            )}
          </div>
        )}
        {source.kind === 'none' && (
          <div class="ev-none">
            <p>No picture: {source.why}</p>
            {source.mayRetry && (
              <button
                type="button"
                class="button is-small"
                onClick={() => (state.value = atFirst(picture, tries + 1))}
              >
                Try again
              </button>
            )}
          </div>
        )}
      </div>
      <div class="ev-bar">{bar}</div>
      <figcaption class="ev-caption">
        <p>In this picture: {picture.detections.map(labelOf).join(', ')}</p>
        <label class="ev-switch">
          <input
            type="checkbox"
            role="switch"
            checked={hasBoxes}
            aria-checked={hasBoxes}
            aria-keyshortcuts="b"
            onChange={({ currentTarget }) => onBoxes(currentTarget.checked)}
          />
          Boxes
        </label>
        <p class="hint ev-why" role="status">
          {noteOf(source, picture, boxes.length)}{' '}
          {picture.isVideo && <a href={original}>Open the video</a>}
        </p>
      </figcaption>
    </figure>
  );
}

/** The label stands inside of the box where there is no room above it, and at its right end where
 * it would leave the picture. */
function boxClass(left: number, top: number): string {
  return `${top < 8 ? 'is-inside' : ''} ${left > 60 ? 'is-right' : ''}`.trim();
}

/** What has to be said of a picture that is not shown as it should be. */
function noteOf(source: Source, { detections, size }: Picture, boxes: number): string {
  if (source.kind === 'small')
    return `${source.why} The small picture that was kept is shown, with its box drawn in.`;
  if (source.kind !== 'original') return '';
  if (size === undefined)
    return 'The size of this picture is not recorded, so no boxes can be drawn over it.';
  const missing = detections.length - boxes;
  return missing === 0 ? '' : `Where it was is not recorded for ${plural(missing, 'detection')}.`;
}

/** A picture does not say why it was refused: asks for its first byte. */
async function whyNotOriginal(
  client: Client,
  access: Access,
  detectionId: number,
): Promise<Source> {
  const path = { detection_id: detectionId };
  try {
    await askPrivate(access, getDetectionOriginal(client, { path, range: 'bytes=0-0' }));
    return { kind: 'small', why: 'This browser cannot show the file of the camera.' };
  } catch (error) {
    return error instanceof StatusError
      ? sourceAfter(error)
      : { kind: 'none', why: toProblem(error).text, mayRetry: true };
  }
}

function sourceAfter(error: StatusError): Source {
  switch (error.result.status) {
    case 410:
      return {
        kind: 'small',
        why: "The camera's file was deleted, or another one has taken its name.",
      };
    case 404:
      return { kind: 'small', why: "The camera's file is not among those that can be shown." };
    default:
      return { kind: 'none', why: toProblem(error).text, mayRetry: true };
  }
}

interface StripProps {
  store: Store;
  clock: Clock;
  pictures: readonly Picture[];
  place: number;
  onChoose: (place: number) => void;
}

/** All pictures, small. One of them is in the order of the tab key; arrows lead to the others. */
function Strip({ store, clock, pictures, place, onChoose }: StripProps) {
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    const strip = list.current;
    const item = strip?.children[place];
    if (strip === null || !(item instanceof HTMLElement)) return;
    strip.scrollLeft = item.offsetLeft - (strip.clientWidth - item.offsetWidth) / 2;
  }, [place]);
  return (
    <ul ref={list} class="ev-strip" aria-label="All pictures">
      {pictures.map((picture, index) => (
        <li key={picture.key}>
          <button
            type="button"
            tabIndex={index === place ? 0 : -1}
            aria-current={index === place ? 'true' : undefined}
            aria-label={`Picture ${index + 1}, ${clock.seconds(picture.takenAtMs)}: ${contentOf(picture)}`}
            onClick={() => onChoose(index)}
          >
            <Small src={store.router.link(`api/detections/${picture.best.id}/image`)} />
            <span aria-hidden="true">{clock.seconds(picture.takenAtMs)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

/** A small picture whose room is kept when it cannot be had. */
export function Small({ src }: { src: string }) {
  const isGone = useSignal(false);
  return (
    <span class="ev-small">
      {isGone.value ? (
        <span class="ev-gone">no picture</span>
      ) : (
        <img
          src={src}
          alt=""
          width="96"
          height="72"
          loading="lazy"
          decoding="async"
          onError={() => (isGone.value = true)}
        />
      )}
    </span>
  );
}

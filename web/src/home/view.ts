import { type Signal, signal } from '@preact/signals';

import { type Layout, type Stretch, between } from '../events/layout.ts';

/** How long nothing must have moved before pictures are loaded. */
const restMs = 120;

/** Which part of the list is in view. */
export interface View {
  /** Heights within the list, in CSS pixels. */
  top: number;
  bottom: number;
  /** Nothing has moved for a moment. */
  isResting: boolean;
}

/** Follows the window's scrolling over a list. */
export class Viewport {
  readonly view: Signal<View> = signal({ top: 0, bottom: 0, isResting: true });
  #list: HTMLElement | undefined;
  #frame = 0;
  #rest: ReturnType<typeof setTimeout> | undefined;

  /** Starts to follow; the function that it returns ends that. */
  run(list: HTMLElement): () => void {
    this.#list = list;
    const onMove = () => {
      this.#frame ||= requestAnimationFrame(() => this.#look(false));
      clearTimeout(this.#rest);
      this.#rest = setTimeout(() => this.#look(true), restMs);
    };
    const resized = new ResizeObserver(onMove);
    resized.observe(list);
    window.addEventListener('scroll', onMove, { passive: true });
    window.addEventListener('resize', onMove);
    this.#look(true);
    return () => {
      resized.disconnect();
      window.removeEventListener('scroll', onMove);
      window.removeEventListener('resize', onMove);
      cancelAnimationFrame(this.#frame);
      clearTimeout(this.#rest);
      this.#frame = 0;
      this.#list = undefined;
    };
  }

  /** Moves a height of the list to the top of the window, below what covers it. */
  scrollTo(height: number, coveredPx: number): void {
    if (this.#list === undefined) return;
    const listTop = this.#list.getBoundingClientRect().top + window.scrollY;
    window.scrollTo({ top: Math.max(0, listTop + height - coveredPx), behavior: 'instant' });
  }

  #look(isResting: boolean): void {
    this.#frame = 0;
    if (this.#list === undefined) return;
    const top = -this.#list.getBoundingClientRect().top;
    this.view.value = { top, bottom: top + window.innerHeight, isResting };
  }
}

/** What to draw: what is in view and a part of a screen around it, less of it in a hurry. */
export function drawn(layout: Layout, { bottom, isResting, top }: View): Stretch[] {
  const around = (bottom - top) / (isResting ? 2 : 8);
  return between(layout, top - around, bottom + around);
}

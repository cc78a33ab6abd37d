import { signal } from '@preact/signals';

/** The events that somebody has chosen, by their ids. */
export class Selection {
  readonly ids = signal<ReadonlySet<number>>(new Set());

  /** Chooses an event, or not any more. */
  choose(id: number, isChosen: boolean): void {
    const ids = new Set(this.ids.peek());
    if (isChosen) ids.add(id);
    else ids.delete(id);
    this.ids.value = ids;
  }

  clear(): void {
    this.ids.value = new Set();
  }
}

import { useSignal } from '@preact/signals';

import type { Store } from '../store.ts';
import { afterSaving, isChangedElsewhere, typing, unsaved } from './note.ts';
import type { ViewedEvent } from './viewed.ts';

/** Longest note that the server takes. */
const longestNote = 10_000;

interface NoteCardProps {
  store: Store;
  viewed: ViewedEvent;
  eventId: number;
  saved: string;
}

/** What somebody noted. What is typed stays until it is saved, also where the page is left. */
export function NoteCard({ store, viewed, eventId, saved }: NoteCardProps) {
  const kept = useSignal(store.drafts.get(eventId));
  const outcome = useSignal<{ text: string; isFailure: boolean } | undefined>(undefined);
  const isSaving = useSignal(false);
  const draft = unsaved(kept.value, saved);
  const text = draft?.text ?? saved;
  const keep = (next: typeof kept.value) => {
    kept.value = next;
    if (next === undefined) store.drafts.delete(eventId);
    else store.drafts.set(eventId, next);
  };
  const save = async () => {
    if (isSaving.value || draft === undefined) return;
    isSaving.value = true;
    outcome.value = undefined;
    const failure = await viewed.change({ notes: text === '' ? null : text });
    isSaving.value = false;
    if (failure === undefined) keep(afterSaving(kept.value, text));
    outcome.value =
      failure === undefined
        ? { text: 'Saved.', isFailure: false }
        : { text: `Not saved: ${failure}`, isFailure: true };
  };
  return (
    <form
      class="ev-note"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <label class="field-label" htmlFor="event-note">
        Note
      </label>
      <textarea
        id="event-note"
        class="input"
        rows={3}
        maxLength={longestNote}
        value={text}
        onInput={({ currentTarget }) => {
          keep(typing(draft, saved, currentTarget.value));
          outcome.value = undefined;
        }}
      />
      <div role="status">
        {isChangedElsewhere(draft, saved) && (
          <p class="callout ev-other">
            The note was changed elsewhere meanwhile, to {saved === '' ? 'nothing' : <q>{saved}</q>}
            . What you typed is still here; saving it takes the place of that.
          </p>
        )}
        {outcome.value !== undefined && (
          <p class={outcome.value.isFailure ? 'error' : 'quiet'}>{outcome.value.text}</p>
        )}
      </div>
      <div class="buttons">
        <button
          type="submit"
          class="button is-small"
          aria-disabled={draft === undefined || isSaving.value}
        >
          {isSaving.value ? 'Saving…' : 'Save the note'}
        </button>
        {draft !== undefined && !isSaving.value && (
          <button type="button" class="button is-small" onClick={() => keep(undefined)}>
            {isChangedElsewhere(draft, saved) ? 'Take the other note' : 'Discard what I typed'}
          </button>
        )}
      </div>
    </form>
  );
}

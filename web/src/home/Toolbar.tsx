import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';

import { failureOf } from '../access/outcome.ts';
import { total } from '../events/sums.ts';
import { formatCount, plural } from '../format.ts';
import type { Store } from '../store.ts';
import { Dialog } from '../ui/Dialog.tsx';

/** What can be done with the chosen events, and with all that are shown. */
export function Toolbar({ store }: { store: Store }) {
  const { timeline } = store;
  const outcome = useSignal('');
  const isAsking = useSignal(false);
  const bar = useRef<HTMLDivElement>(null);
  /** What was pressed goes: the focus stays where it was. */
  const keepFocus = () => bar.current?.focus({ preventScroll: true });
  const selected = timeline.selection.ids.value.size;
  const { filter } = timeline.wish.value;
  const unreviewed = total(timeline.sums(filter) ?? []).unreviewed;
  const run = async (review: () => Promise<number>) => {
    outcome.value = '';
    keepFocus();
    try {
      outcome.value = `${plural(await review(), 'event')} marked reviewed.`;
    } catch (error) {
      outcome.value = failureOf(error);
    }
  };
  const reviewAll = () => {
    isAsking.value = false;
    void run(() => timeline.reviewAll());
  };
  const selectNone = () => {
    timeline.selection.clear();
    keepFocus();
  };
  return (
    <div ref={bar} tabIndex={-1} class={selected > 0 ? 'toolbar is-selecting' : 'toolbar'}>
      {selected > 0 && (
        <>
          <p>
            <strong>{formatCount(selected)} selected</strong>
          </p>
          <button
            type="button"
            class="button is-primary is-small"
            onClick={() => void run(() => timeline.reviewSelected())}
          >
            Mark reviewed
          </button>
          <button type="button" class="button is-small" onClick={selectNone}>
            Select none
          </button>
        </>
      )}
      {selected === 0 && timeline.shown.value !== undefined && unreviewed > 0 && (
        <button type="button" class="button is-small" onClick={() => (isAsking.value = true)}>
          {unreviewed === 1 ? 'Mark 1 event' : `Mark all ${formatCount(unreviewed)}`} reviewed…
        </button>
      )}
      <p class="quiet" role="status">
        {outcome.value}
      </p>
      {isAsking.value && (
        <Sure count={unreviewed} onYes={reviewAll} onNo={() => (isAsking.value = false)} />
      )}
    </div>
  );
}

interface SureProps {
  count: number;
  onYes: () => void;
  onNo: () => void;
}

/** Nothing marks many events unreviewed again, so one touch too many must not do it. */
function Sure({ count, onNo, onYes }: SureProps) {
  return (
    <Dialog alert labelledBy="sure-title" describedBy="sure-why" onClose={onNo}>
      <h2 id="sure-title">Mark {plural(count, 'event')} reviewed?</h2>
      <p id="sure-why" class="lead">
        All that fit the filters in the days shown, also those further down. What has come since the
        list was read stays as it is.
      </p>
      <div class="buttons">
        <button type="button" class="button" onClick={onNo}>
          Cancel
        </button>
        <button type="button" class="button is-primary" onClick={onYes}>
          Mark reviewed
        </button>
      </div>
    </Dialog>
  );
}

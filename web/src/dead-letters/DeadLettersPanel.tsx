import {
  type DeadLetter,
  type DeadLetterPage,
  type DeadLetterSelection,
  requeueDeadLetters,
} from '@hsi/client';
import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';

import { formatMoment, plural } from '../format.ts';
import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { failureOf, refusalOf } from '../access/outcome.ts';

/** Pictures that were given up, why, and another try. */
export function DeadLettersPanel({ store }: { store: Store }) {
  const outcome = useSignal('');
  const busy = useSignal(false);
  const status = useRef<HTMLParagraphElement>(null);
  const retry = async (selection: DeadLetterSelection) => {
    if (busy.value) return;
    busy.value = true;
    outcome.value = '';
    try {
      const result = await store.access.send(() =>
        requeueDeadLetters(store.client, { body: selection, timeoutMs: 30_000 }),
      );
      outcome.value =
        result.status === 200
          ? `${plural(result.data.requeued, 'picture')} will be tried again.`
          : refusalOf(result.status, result.data);
      status.current?.focus(); // the button that was pressed may be gone soon
      store.deadLetters.refresh();
    } catch (error) {
      outcome.value = failureOf(error);
    } finally {
      busy.value = false;
    }
  };
  return (
    <Panel
      id="given-up"
      title="Given up"
      lead="Pictures that could not be processed, and why."
      aside={<Age live={store.live} source={store.deadLetters} />}
    >
      <Fresh live={store.live} source={store.deadLetters}>
        {(page) => (
          <List page={page} busy={busy.value} onRetry={(selection) => void retry(selection)} />
        )}
      </Fresh>
      <p role="status" class="quiet" tabIndex={-1} ref={status}>
        {outcome.value}
      </p>
    </Panel>
  );
}

interface ListProps {
  page: DeadLetterPage;
  busy: boolean;
  onRetry: (selection: DeadLetterSelection) => void;
}

function List({ page: { dead_letters: letters, total }, busy, onRetry }: ListProps) {
  if (total === 0) return <p class="quiet">None. Every picture could be processed.</p>;
  return (
    <>
      <ul class="rows">
        {letters.map((letter) => (
          <li key={letter.id} class="row">
            <div class="row-text">
              <p class="row-name">
                {letter.camera_id} <span class="row-message">{letter.file}</span>
              </p>
              <p>{letter.cause}</p>
              <p class="row-details">{historyOf(letter)}</p>
            </div>
            <button
              type="button"
              class="button is-small"
              aria-disabled={busy}
              aria-label={`Try ${letter.file} of ${letter.camera_id} again`}
              onClick={() => onRetry({ ids: [letter.id] })}
            >
              Try again
            </button>
          </li>
        ))}
      </ul>
      <div class="buttons">
        <button
          type="button"
          class="button"
          aria-disabled={busy}
          onClick={() => onRetry({ all: true })}
        >
          Try all {plural(total, 'picture')} again
        </button>
        {total > letters.length && (
          <span class="quiet">The oldest {letters.length} are listed.</span>
        )}
      </div>
    </>
  );
}

function historyOf({ kind, batch_id: batch, attempts, last_failed_at: last }: DeadLetter): string {
  const parts = [plural(attempts, 'try', 'tries')];
  if (last !== null) parts.push(`last ${formatMoment(Date.parse(last))}`);
  if (kind === 'batch' && batch !== null) parts.push(`with its batch ${batch}`);
  return parts.join(' · ');
}

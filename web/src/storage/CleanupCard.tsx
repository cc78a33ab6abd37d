import { type CleanupResult, runCleanup } from '@hsi/client';
import { useComputed, useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';

import { formatBytes, formatCount, plural } from '../format.ts';
import type { Store } from '../store.ts';
import { Dialog } from '../ui/Dialog.tsx';
import { failureOf, refusalOf } from '../access/outcome.ts';
import { type Cleanup, type CleanupEvent, counted, isEmpty, isOutdated, next } from './cleanup.ts';

/** Deleting what is too old: first a preview, then a confirmation, then what was done. */
export function CleanupCard({ store }: { store: Store }) {
  const state = useSignal<Cleanup>({ step: 'idle' });
  const send = (event: CleanupEvent) => (state.value = next(state.value, event));
  const days = store.config.state.value.value?.retention_days;
  const outdated = useComputed(() => {
    const now = state.value;
    return (
      (now.step === 'previewed' || now.step === 'confirming') &&
      isOutdated(now.preview, now.atMs, store.live.nowMs.value, days)
    );
  }).value;
  const { step } = state.value;
  const busy = step === 'previewing' || step === 'running';
  const deletable =
    (state.value.step === 'previewed' || state.value.step === 'confirming') &&
    !isEmpty(state.value.preview) &&
    !outdated;
  const status = useRef<HTMLDivElement>(null);

  const preview = async () => {
    if (busy) return;
    send({ type: 'preview' });
    await attempt(store, true, send);
  };
  const run = async () => {
    send({ type: 'confirm' });
    requestAnimationFrame(() => status.current?.focus()); // the button that was pressed is gone
    await attempt(store, false, send);
    store.refreshAll();
  };

  return (
    <div class="cleanup">
      <h3>Cleanup</h3>
      <p>
        {days === undefined
          ? 'What is older than the retention period is deleted once a day.'
          : `What is older than ${plural(days, 'day')} is deleted once a day.`}{' '}
        To do it now, look first at what would go.
      </p>
      <div class="buttons">
        <button type="button" class="button" aria-disabled={busy} onClick={() => void preview()}>
          Preview cleanup
        </button>
        {deletable && (
          <button type="button" class="button is-danger" onClick={() => send({ type: 'ask' })}>
            Delete these…
          </button>
        )}
      </div>
      <div role="status" tabIndex={-1} ref={status}>
        <Progress state={state.value} outdated={outdated} />
      </div>
      {state.value.step === 'confirming' && (
        <Confirmation
          preview={state.value.preview}
          onConfirm={() => void run()}
          onCancel={() => send({ type: 'cancel' })}
        />
      )}
    </div>
  );
}

/**
 * Asks the server and tells how it went. A run may take a quarter of an hour, and goes on when this
 * page leaves.
 */
async function attempt(
  store: Store,
  dryRun: boolean,
  send: (event: CleanupEvent) => void,
): Promise<void> {
  const timeoutMs = dryRun ? 60_000 : 16 * 60_000;
  try {
    const result = await store.access.send(() =>
      runCleanup(store.client, { query: { dry_run: dryRun }, timeoutMs }),
    );
    if (result.status !== 200)
      send({ type: 'failed', message: refusalOf(result.status, result.data) });
    else if (dryRun) send({ type: 'previewed', preview: result.data, atMs: Date.now() });
    else send({ type: 'done', result: result.data });
  } catch (error) {
    send({ type: 'failed', message: failureOf(error) });
  }
}

function Progress({ state, outdated }: { state: Cleanup; outdated: boolean }) {
  switch (state.step) {
    case 'idle':
      return null;
    case 'previewing':
      return <p class="quiet">Counting…</p>;
    case 'running':
      return <p class="quiet">Deleting… This goes on when you leave the page.</p>;
    case 'failed':
      return <p class="error">{state.message}</p>;
    case 'done':
      return (
        <Counts result={state.result} title="Deleted" nothing="There was nothing to delete." />
      );
    default:
      if (outdated) return <p class="quiet">The preview is out of date. Preview again.</p>;
      return (
        <Counts
          result={state.preview}
          title="Would be deleted"
          nothing={`Nothing is older than ${plural(state.preview.retention_days, 'day')}.`}
        />
      );
  }
}

function Counts({
  result,
  title,
  nothing,
}: {
  result: CleanupResult;
  title: string;
  nothing: string;
}) {
  if (isEmpty(result)) return <p class="quiet">{nothing}</p>;
  return (
    <>
      <p class="cleanup-title">
        {title} (older than {plural(result.retention_days, 'day')}):
      </p>
      <dl class="pairs">
        {counted.map(({ key, many }) => (
          <div key={key}>
            <dt>{many}</dt>
            <dd>{formatCount(Number(result[key]))}</dd>
          </div>
        ))}
        <div>
          <dt>space freed</dt>
          <dd>{formatBytes(result.space_reclaimed)}</dd>
        </div>
      </dl>
    </>
  );
}

interface ConfirmationProps {
  preview: CleanupResult;
  onConfirm: () => void;
  onCancel: () => void;
}

function Confirmation({ preview, onConfirm, onCancel }: ConfirmationProps) {
  return (
    <Dialog alert labelledBy="cleanup-title" describedBy="cleanup-what" onClose={onCancel}>
      <h2 id="cleanup-title">Delete for good?</h2>
      <p id="cleanup-what">{inWords(preview)} This cannot be undone.</p>
      <div class="buttons">
        <button type="button" class="button" onClick={onCancel}>
          Keep everything
        </button>
        <button type="button" class="button is-danger" onClick={onConfirm}>
          Delete for good
        </button>
      </div>
    </Dialog>
  );
}

function inWords(result: CleanupResult): string {
  const parts = counted
    .filter(({ key }) => result[key] !== 0)
    .map(({ key, one, many }) => plural(Number(result[key]), one, many));
  return `${parts.join(', ')} older than ${plural(result.retention_days, 'day')} will be deleted.`;
}

import { useSignal } from '@preact/signals';

import type { ViewedEvent } from './viewed.ts';

/** Whether somebody has looked at the event. It says what the server has, never what it may have. */
export function ReviewedSwitch({ viewed, reviewed }: { viewed: ViewedEvent; reviewed: boolean }) {
  const isBusy = useSignal(false);
  const failure = useSignal<string | undefined>(undefined);
  const toggle = async () => {
    if (isBusy.value) return;
    isBusy.value = true;
    failure.value = await viewed.change({ reviewed: !reviewed });
    isBusy.value = false;
  };
  return (
    <div class="ev-reviewed">
      <button
        type="button"
        role="switch"
        class="button ev-toggle"
        aria-checked={reviewed}
        aria-disabled={isBusy.value}
        onClick={() => void toggle()}
      >
        <span class="ev-knob" aria-hidden="true" />
        Reviewed
      </button>
      <p class={failure.value === undefined ? 'quiet' : 'error'} role="status">
        {failure.value === undefined
          ? reviewed
            ? 'Marked as reviewed.'
            : 'Not marked as reviewed yet.'
          : `Not changed: ${failure.value}`}
      </p>
    </div>
  );
}

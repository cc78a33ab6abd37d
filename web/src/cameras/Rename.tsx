import { type Camera, type CameraDetail, updateCamera } from '@hsi/client';
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';

import { failureOf, refusalOf } from '../access/outcome.ts';
import { sortErrors } from '../settings/form.ts';
import type { Store } from '../store.ts';

interface RenameProps {
  store: Store;
  camera: CameraDetail;
  onChanged: (camera: Camera) => void;
}

/** The name of a camera, and another one for it. */
export function Rename({ camera, onChanged, store }: RenameProps) {
  const isOpen = useSignal(false);
  const outcome = useSignal<{ isError: boolean; text: string }>({ isError: false, text: '' });
  const isBusy = useSignal(false);
  const input = useRef<HTMLInputElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const wasOpen = useRef(false);
  useEffect(() => {
    // What had the focus is gone: it goes to what came in its place.
    if (isOpen.value) input.current?.select();
    else if (wasOpen.current) button.current?.focus();
    wasOpen.current = isOpen.value;
  }, [isOpen.value]);

  const refuse = (text: string) => {
    outcome.value = { isError: true, text };
    input.current?.focus();
  };
  const close = (text: string) => {
    outcome.value = { isError: false, text };
    isOpen.value = false;
  };
  const save = async () => {
    const name = input.current?.value.trim() ?? '';
    if (name === '') return refuse('Enter a name.');
    if (name === camera.name) return close('');
    const path = { camera_id: camera.id };
    const result = await store.access.send(() =>
      updateCamera(store.client, { path, body: { name } }),
    );
    if (result.status === 200) {
      onChanged(result.data);
      return close('Renamed.');
    }
    if (result.status !== 422) return refuse(refusalOf(result.status, result.data));
    const { byField, others } = sortErrors(result.data.detail, ['name']);
    return refuse([byField.name, ...others].filter((text) => text !== undefined).join(' '));
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isBusy.value) return;
    isBusy.value = true;
    try {
      await save();
    } catch (error) {
      refuse(failureOf(error));
    } finally {
      isBusy.value = false;
    }
  };
  const { isError, text } = outcome.value;
  return (
    <div class="camera-rename">
      {isOpen.value ? (
        <form
          noValidate
          class={isError ? 'has-error' : ''}
          onSubmit={(event) => void submit(event)}
        >
          <label class="field-label" htmlFor="camera-name">
            Name
          </label>
          <div class="field-input">
            <input
              id="camera-name"
              ref={input}
              class="input camera-input"
              autocomplete="off"
              maxLength={255}
              defaultValue={camera.name}
              aria-invalid={isError}
              aria-describedby="camera-name-outcome"
              onKeyDown={(event) => event.key === 'Escape' && close('')}
            />
            <button type="submit" class="button is-primary" aria-disabled={isBusy.value}>
              Save
            </button>
            <button type="button" class="button" onClick={() => close('')}>
              Cancel
            </button>
          </div>
        </form>
      ) : (
        <button
          ref={button}
          type="button"
          class="button is-small"
          onClick={() => {
            outcome.value = { isError: false, text: '' };
            isOpen.value = true;
          }}
        >
          Rename
        </button>
      )}
      <p id="camera-name-outcome" role="status" class={isError ? 'error' : 'quiet'}>
        {text}
      </p>
    </div>
  );
}

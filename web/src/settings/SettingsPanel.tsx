import { type SystemConfig, updateSystemConfig } from '@hsi/client';
import { useSignal } from '@preact/signals';
import { configFields } from 'virtual:contract';

import type { Store } from '../store.ts';
import { Age, Fresh } from '../ui/Fresh.tsx';
import { Panel } from '../ui/Panel.tsx';
import { failureOf, refusalOf } from '../access/outcome.ts';
import {
  type Draft,
  type Field,
  type FieldErrors,
  boundsInWords,
  changesOf,
  sortErrors,
} from './form.ts';

/** Names and units for people; bounds and meaning come from the contract. */
const labels: Record<Field, { name: string; unit: string }> = {
  retention_days: { name: 'Keep data for', unit: 'days' },
  batch_window_seconds: { name: 'Collect a batch for at most', unit: 'seconds' },
  batch_idle_timeout_seconds: { name: 'Close a quiet batch after', unit: 'seconds' },
  detection_confidence_threshold: { name: 'Least confidence of a detection', unit: '' },
};

const fields = Object.keys(labels) as Field[];

type Outcome =
  | { kind: 'idle' }
  | { kind: 'saving' }
  | { kind: 'saved'; text: string }
  | { kind: 'failed'; text: string };

/** The settings that can be changed while the system runs. */
export function SettingsPanel({ store }: { store: Store }) {
  return (
    <Panel
      id="settings"
      title="Configuration"
      lead="Takes effect within a second, without a restart."
      aside={<Age live={store.live} source={store.config} />}
    >
      <Fresh live={store.live} source={store.config}>
        {(config) => <Form store={store} config={config} />}
      </Fresh>
    </Panel>
  );
}

function Form({ store, config }: { store: Store; config: SystemConfig }) {
  const draft = useSignal<Draft>({});
  const errors = useSignal<FieldErrors>({});
  const outcome = useSignal<Outcome>({ kind: 'idle' });

  const type = (field: Field, text: string) => {
    draft.value = { ...draft.value, [field]: text };
    const { [field]: _, ...others } = errors.value;
    errors.value = others;
    outcome.value = { kind: 'idle' };
  };
  const reset = () => {
    draft.value = {};
    errors.value = {};
    outcome.value = { kind: 'idle' };
  };
  const undo = () => {
    const first = fields.find((field) => draft.value[field] !== undefined);
    reset();
    if (first !== undefined) document.getElementById(first)?.focus(); // this button goes away
  };
  const refuse = (found: FieldErrors, text: string) => {
    errors.value = found;
    outcome.value = { kind: 'failed', text };
    const first = fields.find((field) => found[field] !== undefined);
    if (first !== undefined) document.getElementById(first)?.focus();
  };
  const save = async () => {
    if (outcome.value.kind === 'saving') return undefined;
    const { body, errors: found } = changesOf(draft.value, config, configFields);
    if (Object.keys(found).length > 0)
      return refuse(found, 'Nothing was saved. Mend what is marked.');
    if (Object.keys(body).length === 0) {
      reset();
      outcome.value = { kind: 'saved', text: 'Nothing to save: these are the values in force.' };
      return undefined;
    }
    outcome.value = { kind: 'saving' };
    try {
      const result = await store.access.send(() => updateSystemConfig(store.client, { body }));
      if (result.status === 200) {
        store.config.accept(result.data);
        reset();
        outcome.value = { kind: 'saved', text: 'Saved.' };
      } else if (result.status === 422) {
        const { byField, others } = sortErrors(result.data.detail, fields);
        refuse(byField, ['The server refused this. Nothing was saved.', ...others].join(' '));
      } else refuse({}, refusalOf(result.status, result.data));
    } catch (error) {
      refuse({}, failureOf(error));
    }
    return undefined;
  };

  return (
    <form
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      {fields.map((field) => (
        <NumberField
          key={field}
          field={field}
          text={draft.value[field] ?? String(config[field])}
          changed={
            draft.value[field] !== undefined && draft.value[field] !== String(config[field])
              ? config[field]
              : undefined
          }
          error={errors.value[field]}
          onInput={(text) => type(field, text)}
        />
      ))}
      <div class="buttons">
        <button
          type="submit"
          class="button is-primary"
          aria-disabled={outcome.value.kind === 'saving'}
        >
          Save changes
        </button>
        {Object.keys(draft.value).length > 0 && (
          <button type="button" class="button" onClick={undo}>
            Undo
          </button>
        )}
      </div>
      <p role="status" class={outcome.value.kind === 'failed' ? 'error' : 'quiet'}>
        {outcome.value.kind === 'saving'
          ? 'Saving…'
          : 'text' in outcome.value
            ? outcome.value.text
            : ''}
      </p>
    </form>
  );
}

interface NumberFieldProps {
  field: Field;
  text: string;
  /** The value in force, when the typed one is another. */
  changed: number | undefined;
  error: string | undefined;
  onInput: (text: string) => void;
}

function NumberField({ field, text, changed, error, onInput }: NumberFieldProps) {
  const { name, unit } = labels[field];
  const bounds = configFields[field];
  return (
    <div class={error === undefined ? 'field' : 'field has-error'}>
      <label class="field-label" htmlFor={field}>
        {name}
        {unit !== '' && <span class="visually-hidden">, in {unit}</span>}
      </label>
      <div class="field-input">
        <input
          id={field}
          class="input"
          inputMode={bounds.integer ? 'numeric' : 'decimal'}
          autocomplete="off"
          value={text}
          aria-invalid={error !== undefined}
          aria-describedby={`${field}-hint ${field}-error`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        {unit !== '' && <span aria-hidden="true">{unit}</span>}
        {changed !== undefined && <span class="quiet">now {changed}</span>}
      </div>
      <p id={`${field}-error`} class="error">
        {error}
      </p>
      <p id={`${field}-hint`} class="hint">
        {bounds.description} {boundsInWords(bounds)}.
      </p>
    </div>
  );
}

import { createCamera } from '@hsi/client';
import { useSignal } from '@preact/signals';

import { failureOf, refusalOf } from '../access/outcome.ts';
import { sortErrors } from '../settings/form.ts';
import type { Store } from '../store.ts';
import { Panel } from '../ui/Panel.tsx';
import { pathOf } from './CameraCard.tsx';
import { CameraFolder } from './Upload.tsx';
import { folderFor, sentence } from './words.ts';

const fields = ['name', 'folder_path'] as const;
type Field = (typeof fields)[number];
type Errors = Partial<Record<Field, string>>;

const idOf = (field: Field) => `add-camera-${field}`;

/** A camera and its folder, before its first picture. */
export function AddCamera({ store }: { store: Store }) {
  const name = useSignal('');
  /** Undefined while it follows the name. */
  const folder = useSignal<string | undefined>(undefined);
  const errors = useSignal<Errors>({});
  const outcome = useSignal('');
  const isBusy = useSignal(false);
  const folderPath = (folder.value ?? folderFor(name.value)).trim();

  const refuse = (found: Errors, text: string) => {
    errors.value = found;
    outcome.value = text;
    const first = fields.find((field) => found[field] !== undefined);
    if (first !== undefined) document.getElementById(idOf(first))?.focus();
  };
  const add = async () => {
    const body = { name: name.value.trim(), folder_path: folderPath };
    const empty: Errors = {
      ...(body.name === '' && { name: 'Enter a name.' }),
      ...(body.folder_path === '' && { folder_path: 'Enter the name of a folder.' }),
    };
    if (Object.keys(empty).length > 0) return refuse(empty, 'Nothing was added.');
    refuse({}, 'Adding…');
    const result = await store.access.send(() => createCamera(store.client, { body }));
    if (result.status === 201) {
      store.cameras.refresh();
      return store.router.go(pathOf(result.data));
    }
    if (result.status === 422) {
      const { byField, others } = sortErrors(result.data.detail, fields);
      return refuse(byField, ['The server refused this.', ...others].join(' '));
    }
    const text = refusalOf(result.status, result.data);
    // 409: there is a camera of this folder, or the folder cannot be made.
    return result.status === 409
      ? refuse({ folder_path: text }, 'Nothing was added.')
      : refuse({}, text);
  };
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isBusy.value) return;
    isBusy.value = true;
    try {
      await add();
    } catch (error) {
      refuse({}, failureOf(error));
    } finally {
      isBusy.value = false;
    }
  };

  return (
    <Panel
      id="add-camera"
      title="Add a camera"
      lead={
        <>
          A camera is a folder inside <CameraFolder /> that it uploads pictures into. One whose
          folder is there already comes by itself with its first picture.
        </>
      }
    >
      <form noValidate onSubmit={(event) => void submit(event)}>
        <div class="camera-fields">
          <Input
            field="name"
            label="Name"
            hint="For people, such as Front door."
            text={name.value}
            error={errors.value.name}
            onInput={(text) => (name.value = text)}
          />
          <Input
            field="folder_path"
            label="Folder"
            hint="Its name. It is made if it is not there."
            text={folder.value ?? folderFor(name.value)}
            error={errors.value.folder_path}
            onInput={(text) => (folder.value = text)}
          />
        </div>
        <div class="buttons">
          <button type="submit" class="button is-primary" aria-disabled={isBusy.value}>
            Add camera
          </button>
        </div>
        <p role="status" class={isBusy.value ? 'quiet' : 'error'}>
          {outcome.value}
        </p>
      </form>
    </Panel>
  );
}

interface InputProps {
  field: Field;
  label: string;
  hint: string;
  text: string;
  error: string | undefined;
  onInput: (text: string) => void;
}

function Input({ error, field, hint, label, onInput, text }: InputProps) {
  const id = idOf(field);
  return (
    <div class={error === undefined ? 'field' : 'field has-error'}>
      <label class="field-label" htmlFor={id}>
        {label}
      </label>
      <div class="field-input">
        <input
          id={id}
          class="input camera-input"
          autocomplete="off"
          spellcheck={false}
          maxLength={255}
          required
          value={text}
          aria-invalid={error !== undefined}
          aria-describedby={`${id}-hint ${id}-error`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
      </div>
      <p id={`${id}-error`} class="error">
        {error !== undefined && sentence(error)}
      </p>
      <p id={`${id}-hint`} class="hint">
        {hint}
      </p>
    </div>
  );
}

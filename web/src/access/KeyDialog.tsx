import { useRef } from 'preact/hooks';

import { Dialog } from '../ui/Dialog.tsx';
import type { Access, KeyRequest } from './access.ts';

/** Asks for the API key when a write needs one. */
export function KeyDialog({ access }: { access: Access }) {
  const request = access.request.value;
  return request === undefined ? null : <Question key={request.id} request={request} />;
}

function Question({ request }: { request: KeyRequest }) {
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    request.answer(input.current?.value.trim());
  };
  const cancel = () => request.answer(undefined);
  return (
    <Dialog labelledBy="key-title" describedBy="key-why" onClose={cancel}>
      <form onSubmit={submit}>
        <h2 id="key-title">This change needs an API key</h2>
        <p id="key-why" class="lead">
          The server says: {request.reason} The key is not kept: this browser stays signed in for 30
          days, or until you sign out.
        </p>
        <label class="field-label" htmlFor="key-input">
          API key
        </label>
        <input
          id="key-input"
          ref={input}
          class="input"
          type="password"
          autocomplete="off"
          spellcheck={false}
          required
        />
        <div class="buttons">
          <button type="submit" class="button is-primary">
            Sign in
          </button>
          <button type="button" class="button" onClick={cancel}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

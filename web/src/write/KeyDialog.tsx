import { useEffect, useRef } from 'preact/hooks';

import type { Writer } from './writer.ts';

/** Asks for the API key when a write needs one. */
export function KeyDialog({ writer }: { writer: Writer }) {
  const request = writer.request.value;
  const dialog = useRef<HTMLDialogElement>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (request === undefined) dialog.current?.close();
    else if (dialog.current?.open === false) dialog.current.showModal();
  }, [request]);

  const submit = (event: Event) => {
    event.preventDefault();
    const key = input.current?.value.trim() ?? '';
    if (input.current !== null) input.current.value = ''; // the page's markup keeps no key
    request?.answer(key);
  };

  return (
    <dialog ref={dialog} class="dialog" aria-labelledby="key-title" onClose={() => request?.answer(undefined)}>
      <form onSubmit={submit}>
        <h2 id="key-title">This change needs an API key</h2>
        <p class="lead">
          The server says: {request?.reason} The key is kept until this page is closed or loaded again, and sent with changes only.
        </p>
        <label class="field-label" htmlFor="key-input">
          API key
        </label>
        <input id="key-input" ref={input} class="input" type="password" autocomplete="off" spellcheck={false} required />
        <div class="buttons">
          <button type="submit" class="button is-primary">
            Use this key
          </button>
          <button type="button" class="button" onClick={() => request?.answer(undefined)}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}

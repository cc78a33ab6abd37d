import { useRef, useState } from 'preact/hooks';

import type { Access } from './access.ts';
import { failureOf } from './outcome.ts';

/** Stands where pictures and events would be, until somebody signs in. */
export function SignIn({ access }: { access: Access }) {
  const input = useRef<HTMLInputElement>(null);
  const [problem, setProblem] = useState<string>();
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    try {
      setProblem(await access.signIn(input.current?.value.trim() ?? ''));
    } catch (error) {
      setProblem(failureOf(error));
    } finally {
      setBusy(false);
      if (input.current !== null) {
        input.current.value = '';
        input.current.focus();
      }
    }
  };
  return (
    <section class="panel sign-in" aria-labelledby="sign-in-title">
      <h1 id="sign-in-title">Sign in to see what your cameras saw</h1>
      <p class="lead" role="status">
        {plain(problem ?? access.refusal.value)}
      </p>
      <form onSubmit={(event) => void submit(event)}>
        <label class="field-label" htmlFor="sign-in-key">
          API key
        </label>
        <input
          id="sign-in-key"
          ref={input}
          class="input"
          type="password"
          autocomplete="off"
          spellcheck={false}
          required
          aria-describedby="sign-in-hint"
        />
        <p id="sign-in-hint" class="hint">
          One of the keys in <code>API_KEYS</code>. It is not kept: this browser stays signed in for
          30 days, or until you sign out.
        </p>
        <div class="buttons">
          <button type="submit" class="button is-primary" aria-disabled={isBusy}>
            Sign in
          </button>
        </div>
      </form>
    </section>
  );
}

/** What the server says to programs, without how they send a key. */
function plain(text: string | undefined): string | undefined {
  return text?.replace(/ Provide (?:the API key )?via X-API-Key header\.$/, '');
}

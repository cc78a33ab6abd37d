/** A note that was typed and is not saved. */
export interface Draft {
  text: string;
  /** What was saved when the typing began. */
  base: string;
}

/** Typing; undefined when what stands there is what is saved. */
export function typing(draft: Draft | undefined, saved: string, text: string): Draft | undefined {
  const base = draft?.base ?? saved;
  return text === saved ? undefined : { text, base };
}

/** What is typed and not saved; undefined when what is saved says the same. */
export function unsaved(draft: Draft | undefined, saved: string): Draft | undefined {
  return draft?.text === saved ? undefined : draft;
}

/** Somebody else saved something while this was typed. */
export function isChangedElsewhere(draft: Draft | undefined, saved: string): boolean {
  return draft !== undefined && draft.base !== saved && draft.text !== saved;
}

/** After `sent` was saved: what was typed meanwhile stays. */
export function afterSaving(draft: Draft | undefined, sent: string): Draft | undefined {
  return draft === undefined || draft.text === sent ? undefined : { text: draft.text, base: sent };
}

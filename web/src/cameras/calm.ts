/** Something that is to be done again and again, but not too often. */
export interface Calm {
  /** Does it now, or as soon as it may be done again. */
  ask(): void;
  stop(): void;
}

/** Does at most each `pauseMs` what is asked for, however often that is. */
export function calm(pauseMs: number, act: () => void): Calm {
  let notBeforeMs = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const go = () => {
    timer = undefined;
    notBeforeMs = Date.now() + pauseMs;
    act();
  };
  return {
    ask() {
      timer ??= setTimeout(go, Math.max(0, notBeforeMs - Date.now()));
    },
    stop() {
      clearTimeout(timer);
    },
  };
}

import { isSeverity } from '../events/sums.ts';
import type { Store } from '../store.ts';

interface SeverityMarkProps {
  store: Store;
  level: string | null;
  score: number | null;
}

/** A severity as a word, with its colour beside it. What has not been judged says so. */
export function SeverityMark({ level, score, store }: SeverityMarkProps) {
  const definitions = store.severity.state.value.value?.definitions;
  if (level === null || level === '') return <span class="severity-mark">Not judged</span>;
  const definition = definitions?.find(({ severity }) => severity === level);
  const color = definition?.color;
  return (
    <span class="severity-mark">
      <span
        class="severity-dot"
        aria-hidden="true"
        style={color === undefined ? {} : { background: color }}
      />
      {definition?.label ?? (isSeverity(level) ? capital(level) : level)}
      {score !== null && <span class="severity-score"> {score}</span>}
    </span>
  );
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

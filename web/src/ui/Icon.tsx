import type { Level } from '../health/verdict.ts';

// Signs with a shape of their own, so that nothing is told by colour alone. A word always stands
// beside them.
const paths: Record<Level | 'unknown', string> = {
  good: 'M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13Zm3.3 4.9-3.8 4.4a.75.75 0 0 1-1.1.05L4.6 9.05a.75.75 0 0 1 1.06-1.06l1.22 1.22 3.28-3.78a.75.75 0 1 1 1.14.97Z',
  limited:
    'M6.7 2.2a1.5 1.5 0 0 1 2.6 0l5 8.8a1.5 1.5 0 0 1-1.3 2.25H3A1.5 1.5 0 0 1 1.7 11l5-8.8ZM8 5a.75.75 0 0 0-.75.75v2.5a.75.75 0 0 0 1.5 0v-2.5A.75.75 0 0 0 8 5Zm0 5a.9.9 0 1 0 0 1.8A.9.9 0 0 0 8 10Z',
  down: 'M5.1 1.5h5.8l3.6 3.6v5.8l-3.6 3.6H5.1l-3.6-3.6V5.1l3.6-3.6Zm.96 3.5a.75.75 0 0 0-1.06 1.06L6.94 8 5 9.94A.75.75 0 0 0 6.06 11L8 9.06 9.94 11A.75.75 0 0 0 11 9.94L9.06 8 11 6.06A.75.75 0 0 0 9.94 5L8 6.94 6.06 5Z',
  unknown:
    'M8 1.5a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13ZM5 7.25h6a.75.75 0 0 1 0 1.5H5a.75.75 0 0 1 0-1.5Z',
};

/** The sign of a level. */
export function LevelIcon({ level }: { level: Level | 'unknown' }) {
  return (
    <svg class={`icon level-${level}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path fill-rule="evenodd" d={paths[level]} />
    </svg>
  );
}

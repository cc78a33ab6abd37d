import type { Clock } from './words.ts';

interface MomentProps {
  ms: number;
  clock: Clock;
  /** What is shown of it. */
  children: string;
}

/** A moment, with day and time zone in full when it is pointed at. */
export function Moment({ ms, clock, children }: MomentProps) {
  return (
    <time dateTime={new Date(ms).toISOString()} title={clock.whole(ms)}>
      {children}
    </time>
  );
}

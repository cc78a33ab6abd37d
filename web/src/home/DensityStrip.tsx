import type { SeverityDefinition } from '@hsi/client';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { addDays, shortDay, wordDay } from '../events/days.ts';
import { type Span, spanDays } from '../events/filter.ts';
import type { Sum } from '../events/sums.ts';
import { mostDaysByHour } from '../events/questions.ts';
import { Choice } from '../ui/Choice.tsx';
import { type Bin, binAt, binsOf, stack, wordBin } from './bins.ts';

const spanNames = spanDays.map((days) => [days, days === 1 ? 'Day' : `${days} days`] as const);

interface DensityStripProps {
  sums: readonly Sum[];
  span: Span;
  /** The last day that is shown, and the present one. */
  lastDay: string;
  today: string;
  /** The server's present, in milliseconds since the epoch. */
  nowMs: number;
  dayOf: (ms: number) => string;
  definitions: readonly SeverityDefinition[] | undefined;
  /** The moment at the top of the list; undefined at the top. */
  atMs: number | undefined;
  onGo: (bin: Bin) => void;
  onSpan: (span: Span) => void;
}

/** How much happened when: a bar for each day or hour, in the colours of the severities. */
export function DensityStrip(props: DensityStripProps) {
  const { atMs, dayOf, definitions, lastDay, nowMs, onGo, onSpan, span, sums, today } = props;
  const byHour = span.days <= mostDaysByHour;
  const bins = useMemo(
    () => binsOf(sums, lastDay, span.days, byHour),
    [sums, lastDay, span.days, byHour],
  );
  const bars = useRef<SVGSVGElement>(null);
  const [pointed, setPointed] = useState<number>();
  // What was asked for last counts until scrolling has come to rest: keys follow each other faster.
  const [wanted, setWanted] = useState<number>();
  useEffect(() => setWanted(undefined), [atMs]);
  // At the top of the list is the present: hours that are still to come have nothing to show.
  const current = wanted ?? binAt(bins, atMs ?? nowMs);
  const shown = bins[pointed ?? current] ?? bins[bins.length - 1];

  const go = (index: number) => {
    const next = Math.max(0, Math.min(bins.length - 1, index));
    const bin = bins[next];
    if (bin === undefined) return;
    setWanted(next);
    onGo(bin);
  };
  const at = (event: { clientX: number }) => {
    const box = bars.current?.getBoundingClientRect();
    if (box === undefined || box.width === 0) return 0;
    const part = (event.clientX - box.left) / box.width;
    return Math.max(0, Math.min(bins.length - 1, Math.floor(part * bins.length)));
  };
  const move = (event: PointerEvent) => {
    setPointed(at(event));
    if (event.buttons === 1) go(at(event));
  };
  const keys: Record<string, number> = {
    ArrowLeft: current - 1,
    ArrowDown: current - 1,
    ArrowRight: current + 1,
    ArrowUp: current + 1,
    PageDown: current - 7,
    PageUp: current + 7,
    Home: 0,
    End: bins.length - 1,
  };
  const press = (event: KeyboardEvent) => {
    const target = keys[event.key];
    if (target === undefined) return;
    event.preventDefault();
    go(target);
  };
  const pan = (direction: -1 | 1) => {
    const last = addDays(lastDay, direction * span.days);
    onSpan({ ...span, lastDay: last >= today ? undefined : last });
  };
  const zoom = (event: WheelEvent) => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    if (event.shiftKey) return pan(event.deltaY > 0 || event.deltaX > 0 ? 1 : -1);
    const next = spanDays[spanDays.indexOf(span.days) + (event.deltaY > 0 ? 1 : -1)];
    if (next === undefined) return undefined;
    // What is pointed at stays in view.
    const day = dayOf(bins[at(event)]?.startsAtMs ?? 0);
    const last = addDays(day, Math.floor(next / 2));
    return onSpan({ days: next, lastDay: last >= today ? undefined : last });
  };
  const name = (bin: Bin) => {
    const day = wordDay(dayOf(bin.startsAtMs), today);
    return byHour ? `${day}, ${clockOf(bin.startsAtMs)} to ${clockOf(bin.endsAtMs)}` : day;
  };

  return (
    <section class="density" aria-label="How much happened when">
      <div class="density-head">
        <div class="density-pan">
          <button type="button" class="button is-small" onClick={() => pan(-1)}>
            ← Earlier
          </button>
          <button
            type="button"
            class="button is-small"
            aria-disabled={lastDay >= today}
            onClick={() => lastDay < today && pan(1)}
          >
            Later →
          </button>
        </div>
        <p class="density-words" aria-hidden="true">
          {shown !== undefined && (
            <>
              <strong>{name(shown)}</strong> {wordBin(shown)}
            </>
          )}
        </p>
        <Choice
          label="How many days are shown"
          name="span"
          options={spanNames}
          value={span.days}
          onChange={(days) => onSpan({ ...span, days })}
        />
      </div>
      <div
        class="density-strip"
        role="slider"
        tabIndex={0}
        aria-label="Go to a time in the list"
        aria-valuemin={0}
        aria-valuemax={bins.length - 1}
        aria-valuenow={current}
        aria-valuetext={bins[current] && `${name(bins[current])}: ${wordBin(bins[current])}`}
        onKeyDown={press}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          go(at(event));
        }}
        onPointerMove={move}
        onPointerLeave={() => setPointed(undefined)}
        onWheel={zoom}
      >
        <Bars bins={bins} current={current} definitions={definitions} place={bars} />
      </div>
      <div class="density-axis" aria-hidden="true">
        {axisOf(bins, byHour, dayOf).map((label) => (
          <span key={label}>{label}</span>
        ))}
      </div>
    </section>
  );
}

interface BarsProps {
  bins: readonly Bin[];
  current: number;
  definitions: readonly SeverityDefinition[] | undefined;
  place: { current: SVGSVGElement | null };
}

const heightUnits = 100;

function Bars({ bins, current, definitions, place }: BarsProps) {
  const most = Math.max(1, ...bins.map(({ count }) => count));
  const colorOf = (level: string) => definitions?.find(({ severity }) => severity === level)?.color;
  return (
    <svg
      ref={place}
      viewBox={`0 0 ${bins.length} ${heightUnits}`}
      preserveAspectRatio="none"
      aria-hidden="true"
      focusable="false"
    >
      <rect class="density-current" x={current} y={0} width={1} height={heightUnits} />
      {bins.map((bin, index) => {
        let foot = heightUnits;
        return stack.map((level) => {
          const count = bin.byLevel[level];
          if (count === 0) return null;
          // One critical event among a thousand is still to be seen.
          const height = Math.max(3, (count / most) * (heightUnits - 8));
          foot = Math.max(0, foot - height);
          return (
            <rect
              key={`${bin.startsAtMs} ${level}`}
              class="density-bar"
              x={index + 0.1}
              y={foot}
              width={0.8}
              height={height}
              style={{ fill: colorOf(level) ?? 'var(--muted)' }}
            />
          );
        });
      })}
    </svg>
  );
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

function clockOf(ms: number): string {
  return clock.format(ms);
}

/** A few words below the bars: where it begins, its middle, its end. */
function axisOf(bins: readonly Bin[], byHour: boolean, dayOf: (ms: number) => string): string[] {
  const parts = [0, 0.25, 0.5, 0.75].map((part) => bins[Math.floor(part * bins.length)]);
  const isOneDay = byHour && bins.length <= 25;
  return parts.flatMap((bin) => {
    if (bin === undefined) return [];
    return [isOneDay ? clockOf(bin.startsAtMs) : shortDay(dayOf(bin.startsAtMs))];
  });
}

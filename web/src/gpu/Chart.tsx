import { useEffect, useMemo, useRef, useState } from 'preact/hooks';

import { formatClock } from '../format.ts';
import { type History, extentOf, lineOf } from './history.ts';
import type { Plot, View } from './plot.ts';
import type { Shown } from './quantities.ts';

interface ChartProps {
  shown: Shown;
  history: History;
  top: number | undefined;
  /** "the last hour", for the description. */
  stretch: string;
}

/** The course of one quantity. The drawing code is loaded when the first chart is shown. */
export function Chart({ shown, history, top, stretch }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  const [at, setAt] = useState<number>();
  const [failed, setFailed] = useState(false);
  const description = useMemo(() => describe(shown, history, stretch), [history, shown, stretch]);
  const view: View = useMemo(
    () => ({
      line: lineOf(history.samples, shown.key),
      fromMs: startOf(history),
      toMs: history.toMs,
      top,
    }),
    [history, shown, top],
  );
  const latest = useRef(view); // what to draw first, once the drawing code is there
  useEffect(() => {
    latest.current = view;
    plot.current?.show(view);
  }, [view]);
  useEffect(() => {
    let ended = false;
    import('./plot.ts').then(
      ({ createPlot }) => {
        if (ended || place.current === null) return;
        plot.current = createPlot(place.current, latest.current, {
          format: shown.format,
          syncKey: 'gpu',
          onCursor: setAt,
        });
      },
      () => setFailed(true), // the server went away just now
    );
    return () => {
      ended = true;
      plot.current?.destroy();
    };
  }, [shown]);

  const time = at === undefined ? undefined : view.line[0][at];
  const value = at === undefined ? undefined : view.line[1][at];
  return (
    <figure class="chart">
      <div ref={place} class="chart-place" role="img" aria-label={description} />
      {failed && <p class="quiet">The chart could not be loaded. Load the page again.</p>}
      <figcaption class="chart-cursor" aria-hidden="true">
        {time !== undefined && `${formatClock(time * 1000)}  ${shown.format(value)}`}
      </figcaption>
    </figure>
  );
}

/**
 * A truncated stretch begins with its first sample: what lies before is not a gap, it was not sent.
 */
export function startOf({ truncated, samples, fromMs }: History): number {
  const first = samples[0];
  return truncated && first !== undefined ? Date.parse(first.recorded_at) : fromMs;
}

function describe({ key, name, format }: Shown, history: History, stretch: string): string {
  const extent = extentOf(history.samples, key);
  if (extent === undefined) return `${name} over ${stretch}: not known.`;
  return `${name} over ${stretch}: between ${format(extent.min)} and ${format(extent.max)}, on average ${format(extent.mean)}, last ${format(extent.last)}.`;
}

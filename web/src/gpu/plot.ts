import 'uplot/dist/uPlot.min.css';

import uPlot from 'uplot';

import type { Line } from './history.ts';

export interface PlotOptions {
  /** Words a value, for the axis. */
  format: (value: number) => string;
  /** Charts with the same key show their cursor at the same time. */
  syncKey: string;
  /** Called with the index under the cursor; undefined when it leaves. */
  onCursor: (index: number | undefined) => void;
}

export interface View {
  line: Line;
  fromMs: number;
  toMs: number;
  /** The top of the chart, when it is known. */
  top: number | undefined;
}

export interface Plot {
  show: (view: View) => void;
  destroy: () => void;
}

const height = 132;

/** Makes a chart that fills the width of its place, in the colours of the page. */
export function createPlot(
  place: HTMLElement,
  first: View,
  { format, syncKey, onCursor }: PlotOptions,
): Plot {
  let view = first;
  const token = (name: string) => getComputedStyle(place).getPropertyValue(name);
  const font = () => `12px ${token('--font')}`;
  const options: uPlot.Options = {
    width: place.clientWidth,
    height,
    legend: { show: false },
    padding: [8, 18, 0, 0], // room for half a label at the right
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 }, sync: { key: syncKey } },
    scales: {
      x: { range: () => [view.fromMs / 1000, view.toMs / 1000] },
      y: { range: (_, __, max) => [0, view.top ?? niceTop(max)] },
    },
    axes: [
      {
        stroke: () => token('--muted'),
        font: font(),
        grid: { show: false },
        ticks: { show: false },
        size: 26,
        values: (_, splits) => splits.map((seconds) => clockOf(seconds)),
      },
      {
        stroke: () => token('--muted'),
        font: font(),
        grid: { stroke: () => token('--line'), width: 1 },
        ticks: { show: false },
        size: 62,
        gap: 6,
        splits: (_, __, min, max) => [min, (min + max) / 2, max],
        values: (_, splits) => splits.map(format),
      },
    ],
    series: [
      {},
      {
        stroke: () => token('--series'),
        fill: () => token('--series-soft'),
        width: 1.75,
        points: { size: 4, fill: () => token('--series') },
        spanGaps: false,
      },
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? undefined)] },
  };
  const plot = new uPlot(options, view.line, place);

  const resized = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height }));
  resized.observe(place);
  const theme = matchMedia('(prefers-color-scheme: dark)');
  const repaint = () => plot.redraw(false, true);
  theme.addEventListener('change', repaint);

  return {
    show(next) {
      view = next;
      plot.setData(next.line);
    },
    destroy() {
      resized.disconnect();
      theme.removeEventListener('change', repaint);
      plot.destroy();
    },
  };
}

const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

function clockOf(seconds: number): string {
  return clock.format(seconds * 1000);
}

/** A round number at or above the highest value: 1, 2, 5 and their tenfolds. */
export function niceTop(max: number | null): number {
  if (max === null || !(max > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(max));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * size >= max * 1.02) ?? 15;
  return step * size;
}

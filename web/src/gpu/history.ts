import type { GPUSample } from '@hsi/client';

/** GPU samples over a stretch of time, oldest first. */
export interface History {
  /** The stretch that was asked for, in milliseconds since the epoch. */
  fromMs: number;
  toMs: number;
  samples: GPUSample[];
  /** There were more samples than one answer holds: the stretch begins later than asked for. */
  truncated: boolean;
}

/** A quantity that a sample has. */
export type Quantity =
  'utilization' | 'memory_used' | 'temperature' | 'power_usage' | 'inference_fps';

/** Time of a sample in milliseconds since the epoch. */
export function timeOf(sample: GPUSample): number {
  return Date.parse(sample.recorded_at);
}

/**
 * Where to ask from, so that only new samples travel: the newest one that is kept, when what is
 * kept reaches back far enough; else the beginning of the stretch.
 */
export function askFrom(kept: History | undefined, fromMs: number): number {
  const newest = kept?.samples.at(-1);
  if (kept === undefined || newest === undefined || kept.fromMs > fromMs || timeOf(newest) < fromMs)
    return fromMs;
  return timeOf(newest);
}

/**
 * Joins what is kept with what came for the time since `askedFromMs`, and drops what is older than
 * the stretch. `since` is inclusive: the samples at that time came again.
 */
export function join(
  kept: History | undefined,
  came: GPUSample[],
  stretch: { fromMs: number; toMs: number; askedFromMs: number; limit: number },
): History {
  const { fromMs, toMs, askedFromMs, limit } = stretch;
  const full = came.length >= limit; // nothing is known of what lies between
  const before =
    full || askedFromMs <= fromMs
      ? []
      : (kept?.samples ?? []).filter(
          (sample) => timeOf(sample) < askedFromMs && timeOf(sample) >= fromMs,
        );
  const wasTruncated = before.length > 0 && (kept?.truncated ?? false);
  return { fromMs, toMs, samples: [...before, ...came], truncated: full || wasTruncated };
}

/**
 * One line of a chart: times in seconds since the epoch, as uPlot takes them, and values; null
 * makes a gap.
 */
export type Line = [timesSeconds: number[], values: (number | null)[]];

/** A pause between samples counts as a gap from this many usual pauses on. */
const gapFactor = 3;
/** No shorter pause counts as a gap, whatever is usual. */
const leastGapMs = 12_000;

/**
 * The line of one quantity. Where samples are missing, a null stands between them, so that the
 * chart shows a gap and no bridge.
 */
export function lineOf(samples: GPUSample[], quantity: Quantity): Line {
  const times = samples.map(timeOf);
  const usualMs = usualPause(times);
  const gapMs = Math.max(gapFactor * usualMs, leastGapMs);
  const line: Line = [[], []];
  let previous: number | undefined;
  samples.forEach((sample, index) => {
    const time = times[index] ?? 0;
    if (previous !== undefined && time - previous > gapMs) {
      line[0].push((previous + usualMs) / 1000);
      line[1].push(null);
    }
    line[0].push(time / 1000);
    line[1].push(sample[quantity]);
    previous = time;
  });
  return line;
}

/** The median pause between samples, in milliseconds. */
function usualPause(times: number[]): number {
  const pauses = times.slice(1).map((time, index) => time - (times[index] ?? time));
  return pauses.toSorted((a, b) => a - b)[Math.floor(pauses.length / 2)] ?? 0;
}

/** What one quantity did: undefined when it was never known. */
export interface Extent {
  min: number;
  max: number;
  mean: number;
  last: number;
}

/** Lowest, highest, mean and last known value of one quantity. */
export function extentOf(samples: GPUSample[], quantity: Quantity): Extent | undefined {
  const values = samples.map((sample) => sample[quantity]).filter((value) => value !== null);
  const last = values.at(-1);
  if (last === undefined) return undefined;
  const sum = values.reduce((total, value) => total + value, 0);
  return { min: Math.min(...values), max: Math.max(...values), mean: sum / values.length, last };
}

/**
 * The samples in equal parts of the stretch, oldest first: for reading as a table what the charts
 * draw.
 */
export function parts(
  { fromMs, toMs, samples }: History,
  count: number,
): { fromMs: number; toMs: number; samples: GPUSample[] }[] {
  const size = (toMs - fromMs) / count;
  return Array.from({ length: count }, (_, index) => {
    const from = fromMs + index * size;
    const to = index === count - 1 ? Number.POSITIVE_INFINITY : from + size;
    return {
      fromMs: from,
      toMs: fromMs + (index + 1) * size,
      samples: samples.filter((sample) => timeOf(sample) >= from && timeOf(sample) < to),
    };
  });
}

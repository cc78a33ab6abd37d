import type { GPUStats } from '@hsi/client';

import { formatMeasure, formatMebibytes } from '../format.ts';
import type { Quantity } from './history.ts';

/** How one quantity is shown. */
export interface Shown {
  key: Quantity;
  name: string;
  format: (value: number | null | undefined) => string;
  /** The top of the chart, when it is known; else the highest value. */
  top: (stats: GPUStats | undefined) => number | undefined;
  /** More about the current value. */
  more?: (stats: GPUStats) => string | undefined;
}

/** The quantities of a GPU in the order of the page. */
export const quantities: Shown[] = [
  {
    key: 'utilization',
    name: 'Utilization',
    format: (value) => formatMeasure(value, '%'),
    top: () => 100,
  },
  {
    key: 'memory_used',
    name: 'Memory',
    format: formatMebibytes,
    top: (stats) => stats?.memory_total ?? undefined,
    more: ({ memory_total }) =>
      memory_total === null ? undefined : `of ${formatMebibytes(memory_total)}`,
  },
  {
    key: 'temperature',
    name: 'Temperature',
    format: (value) => formatMeasure(value, '°C'),
    top: () => undefined,
  },
  {
    key: 'power_usage',
    name: 'Power',
    format: (value) => formatMeasure(value, 'W'),
    top: () => undefined,
  },
  {
    key: 'inference_fps',
    name: 'Pictures through the detector',
    format: (value) => formatMeasure(value, 'per s'),
    top: () => undefined,
  },
];

/** Stretches of time that can be chosen, in minutes. */
export const ranges = [
  [15, '15 min'],
  [60, '1 h'],
  [360, '6 h'],
  [1440, '24 h'],
] as const;

/** No GPU, no driver, or no fresh sample: then every value is null. */
export function hasNoGPU(stats: GPUStats): boolean {
  return Object.values(stats).every((value) => value === null);
}

// Numbers in words that need no manual. What is not known is a dash, never a zero.

/** Shown for a value that is not known. */
export const unknown = '–';

const locale = 'en';
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const hundredth = new Intl.NumberFormat(locale, { maximumFractionDigits: 2 });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});
const day = new Intl.DateTimeFormat(undefined, {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});

/** A whole number with its thousands apart: 12,345. */
export function formatCount(value: number | null | undefined): string {
  return value === null || value === undefined ? unknown : whole.format(value);
}

/** A measured value: three digits that mean something, so 0.25, 4.5 and 75. */
export function formatMeasure(value: number | null | undefined, unit = ''): string {
  if (value === null || value === undefined) return unknown;
  const size = Math.abs(value);
  const format = size >= 99.95 ? whole : size >= 9.995 ? tenth : hundredth;
  return unit === '' ? format.format(value) : `${format.format(value)} ${unit}`;
}

const byteUnits = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** A size in decimal units, as disks are sold and as file managers count: 1.5 GB. */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return unknown;
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < byteUnits.length - 1) {
    value /= 1000;
    unit += 1;
  }
  if (unit === 0) return value === 1 ? '1 byte' : `${whole.format(value)} bytes`;
  return formatMeasure(value, byteUnits[unit]);
}

/** Graphics memory, which drivers count in MiB: 820 MiB, 11.7 GiB. */
export function formatMebibytes(mebibytes: number | null | undefined): string {
  if (mebibytes === null || mebibytes === undefined) return unknown;
  return mebibytes < 1024
    ? `${whole.format(mebibytes)} MiB`
    : `${tenth.format(mebibytes / 1024)} GiB`;
}

/** How long something takes, from milliseconds: 8 ms, 1.4 s, 2 min 5 s. */
export function formatLatency(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return unknown;
  if (ms < 0.1) return '< 0.1 ms';
  if (ms < 999.5) return `${ms < 9.95 ? tenth.format(ms) : whole.format(ms)} ms`;
  if (ms < 59_950) return `${tenth.format(ms / 1000)} s`;
  return formatDuration(ms / 1000);
}

const steps: [unit: string, seconds: number][] = [
  ['d', 86_400],
  ['h', 3_600],
  ['min', 60],
  ['s', 1],
];

/** A span of time in its two largest units: 45 s, 3 min 20 s, 2 d 4 h. */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return unknown;
  let rest = Math.round(Math.max(0, seconds));
  const first = Math.max(
    0,
    steps.findIndex(([, size]) => rest >= size),
  );
  if (rest === 0) return '0 s';
  const parts: string[] = [];
  for (const [unit, size] of steps.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) parts.push(`${count} ${unit}`);
  }
  return parts.join(' ');
}

/**
 * How old something is: "now", "8 s ago", "3 min ago". Older things have one unit: nobody needs the
 * seconds then.
 */
export function formatAge(ms: number): string {
  if (ms < 1_500) return 'now';
  const seconds = ms / 1000;
  const [unit, size] = steps.find(([, step]) => seconds >= step) ?? ['s', 1];
  return `${Math.floor(seconds / size)} ${unit} ago`;
}

/** The time of day where the reader is: 14:03:09. */
export function formatClock(ms: number): string {
  return clock.format(ms);
}

/** Day and time where the reader is: 4 Mar, 14:03. */
export function formatMoment(ms: number): string {
  return day.format(ms);
}

/** One or many: plural(1, 'image') is "1 image", plural(1234, 'image') is "1,234 images". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

const hour = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  hourCycle: 'h23',
});
const full = new Intl.DateTimeFormat('en-GB', {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  timeZoneName: 'long',
});

/** The time of day of a moment of the API where the reader is: 22:14. */
export function formatHour(moment: string): string {
  return hour.format(Date.parse(moment));
}

/** All of a moment, with the time zone, for those who want to know: to be shown on hover. */
export function formatFull(moment: string): string {
  return full.format(Date.parse(moment));
}

// Where each event stands on a page of full height, before any of them is there.

/** One day with events. */
export interface DayCount {
  day: string;
  count: number;
}

/** Sizes in CSS pixels. */
export interface Metrics {
  columns: number;
  /** A row of cards with the gap below it. */
  rowHeight: number;
  /** The heading of a day. */
  headHeight: number;
}

/** One day on the page. */
export interface Section extends DayCount {
  top: number;
  height: number;
  /** How many events stand before it. */
  before: number;
}

/** The whole page. */
export interface Layout extends Metrics {
  sections: readonly Section[];
  height: number;
  count: number;
}

/** Events of one day that are to be drawn: from `first` to before `end`. */
export interface Stretch {
  section: Section;
  first: number;
  end: number;
}

/** Lays out days, the newest first. Days without events have no place. */
export function layOut(days: readonly DayCount[], metrics: Metrics): Layout {
  const sections: Section[] = [];
  let top = 0;
  let before = 0;
  for (const { day, count } of days) {
    if (count === 0) continue;
    const height = metrics.headHeight + Math.ceil(count / metrics.columns) * metrics.rowHeight;
    sections.push({ day, count, top, height, before });
    top += height;
    before += count;
  }
  return { ...metrics, sections, height: top, count: before };
}

/** What lies between two heights, whole rows. */
export function between(
  { sections, columns, rowHeight, headHeight }: Layout,
  from: number,
  to: number,
): Stretch[] {
  const stretches: Stretch[] = [];
  for (let at = sectionAt(sections, from); at < sections.length; at++) {
    const section = sections[at];
    if (section === undefined || section.top >= to) break;
    const rowsTop = section.top + headHeight;
    const firstRow = Math.max(0, Math.floor((from - rowsTop) / rowHeight));
    const endRow = Math.max(0, Math.ceil((to - rowsTop) / rowHeight));
    const end = Math.min(section.count, endRow * columns);
    stretches.push({ section, first: Math.min(firstRow * columns, end), end });
  }
  return stretches;
}

/** The first section that ends below a height. */
function sectionAt(sections: readonly Section[], height: number): number {
  let low = 0;
  let high = sections.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const section = sections[middle];
    if (section !== undefined && section.top + section.height <= height) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The height at which an event of a day stands. */
export function topOf(
  { columns, headHeight, rowHeight }: Layout,
  section: Section,
  index: number,
): number {
  return section.top + headHeight + Math.floor(index / columns) * rowHeight;
}

/** The section of a day, or of the first day with events at or before it. */
export function sectionOf({ sections }: Layout, day: string): Section | undefined {
  return sections.find((section) => section.day <= day);
}

/** Scrolling stops at whole pixels of the screen, rows do not. */
const slackPx = 1;

/** The event at a height: the first whole row below it, perhaps of the next day. */
export function placeAt(
  layout: Layout,
  height: number,
): { section: Section; index: number } | undefined {
  const { columns, headHeight, rowHeight, sections } = layout;
  const at = sectionAt(sections, height);
  const section = sections[at];
  if (section === undefined) return undefined;
  const row = Math.max(0, Math.ceil((height - slackPx - section.top - headHeight) / rowHeight));
  if (row * columns < section.count) return { section, index: row * columns };
  const next = sections[at + 1];
  return next === undefined ? { section, index: section.count - 1 } : { section: next, index: 0 };
}

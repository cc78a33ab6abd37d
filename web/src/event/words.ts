import type { Event as SeenEvent, EventDetail } from '@hsi/client';

import { dayTeller, wordDay } from '../events/days.ts';
import { wordEvent } from '../events/words.ts';
import { formatDuration, formatLatency } from '../format.ts';

/** Writes moments as they are where the reader is. */
export class Clock {
  readonly #minutes;
  readonly #seconds;
  readonly #whole;
  readonly #dayOf;

  constructor(timeZone: string) {
    const time = { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' } as const;
    this.#minutes = new Intl.DateTimeFormat('en-GB', time);
    this.#seconds = new Intl.DateTimeFormat('en-GB', { ...time, second: '2-digit' });
    this.#whole = new Intl.DateTimeFormat('en-GB', {
      ...time,
      second: '2-digit',
      weekday: 'long',
      day: 'numeric',
      month: 'long',
      year: 'numeric',
      timeZoneName: 'long',
    });
    this.#dayOf = dayTeller(timeZone);
  }

  /** 22:14 */
  minutes(ms: number): string {
    return this.#minutes.format(ms);
  }

  /** 22:14:05 */
  seconds(ms: number): string {
    return this.#seconds.format(ms);
  }

  /** Day, time and time zone in full. */
  whole(ms: number): string {
    return this.#whole.format(ms);
  }

  /** "Today", "Tuesday 24 November". */
  day(ms: number, nowMs: number): string {
    return wordDay(this.#dayOf(ms), this.#dayOf(nowMs));
  }

  isSameDay(a: number, b: number): boolean {
    return this.#dayOf(a) === this.#dayOf(b);
  }
}

/** "Person at Front door, 22:14". */
export function headingOf(event: SeenEvent, clock: Clock): string {
  return `${wordEvent(event)}, ${clock.minutes(Date.parse(event.started_at))}`;
}

/** How far something is away from something else: "16 min earlier". */
export function wordDistance(fromMs: number, toMs: number): string {
  const seconds = Math.round(Math.abs(toMs - fromMs) / 1000);
  if (seconds === 0) return 'at the same time';
  return `${formatDuration(seconds)} ${toMs < fromMs ? 'earlier' : 'later'}`;
}

/** What assessed an event. */
export function wordAnalyzer(analyzer: string | null): string {
  switch (analyzer) {
    case 'nemotron':
      return 'Assessed by the language model (Nemotron).';
    case 'rules':
      return 'Assessed by the built-in rules, without a language model.';
    case null:
      return 'It is not recorded what assessed it.';
    default:
      return `Assessed by ${analyzer}.`;
  }
}

/** One step on the way from the first picture to the event. */
export interface Stage {
  name: string;
  /** Undefined where it is not recorded. */
  atMs: number | undefined;
  /** How long after the step before; undefined where one of them is not recorded. */
  distance: string | undefined;
}

/** The way of an event, step by step. */
export function stagesOf({ started_at: startedAt, stages }: EventDetail): Stage[] {
  const steps: [name: string, at: string | null][] = [
    ['First picture taken', startedAt],
    ['It arrived here', stages.first_picture_seen_at],
    ['Last picture looked at', stages.last_picture_detected_at],
    ['Closed: no picture could join any more', stages.batch_closed_at],
    ['Assessment began', stages.analysis_started_at],
    ['Assessed', stages.analyzed_at],
  ];
  let beforeMs: number | undefined;
  return steps.map(([name, at]) => {
    const atMs = at === null ? undefined : Date.parse(at);
    const distance =
      atMs === undefined || beforeMs === undefined ? undefined : wordStep(atMs - beforeMs);
    beforeMs = atMs ?? beforeMs;
    return { name, atMs, distance };
  });
}

/** A clock of a camera may be wrong: then something is earlier than what came before it. */
function wordStep(ms: number): string {
  if (ms < 0) return `${formatLatency(-ms)} before that`;
  return ms < 1 ? 'at once' : `${formatLatency(ms)} later`;
}

/** How long it took in all; undefined where that is not recorded or cannot be. */
export function wholeWayMs({ started_at: startedAt, stages }: EventDetail): number | undefined {
  if (stages.analyzed_at === null) return undefined;
  const ms = Date.parse(stages.analyzed_at) - Date.parse(startedAt);
  return ms < 0 ? undefined : ms;
}

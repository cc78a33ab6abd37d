import type { SystemConfig, SystemConfigUpdate, ValidationErrorItem } from '@hsi/client';
import type { Bounds } from 'virtual:contract';

/** A setting that can be changed. */
export type Field = keyof SystemConfigUpdate;

/** What was typed, by field. A field that was not touched is absent: it follows the server. */
export type Draft = Partial<Record<Field, string>>;

/** What is wrong, by field. */
export type FieldErrors = Partial<Record<Field, string>>;

/** The largest number that the wire can carry: a bound there is no bound for people. */
const unbounded = 2_147_483_647;

/** "1 to 365", or "1 or more". */
export function boundsInWords({ minimum, maximum }: Bounds): string {
  return maximum >= unbounded ? `${minimum} or more` : `${minimum} to ${maximum}`;
}

/** Reads what was typed. A comma is a decimal point too. */
export function parseField(text: string, bounds: Bounds): { value: number } | { error: string } {
  const plain = text.trim().replace(',', '.');
  const allowed = boundsInWords(bounds);
  if (plain === '') return { error: `Enter a number: ${allowed}.` };
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain))
    return { error: `This is not a number. Enter ${allowed}.` };
  const value = Number(plain);
  if (bounds.integer && !Number.isInteger(value))
    return { error: `Enter a whole number: ${allowed}.` };
  if (value < bounds.minimum || value > bounds.maximum) return { error: `Enter ${allowed}.` };
  return { value };
}

/**
 * What to send: the touched fields whose value is another than the server's; and what cannot be
 * sent.
 */
export function changesOf(
  draft: Draft,
  config: SystemConfig,
  bounds: Record<Field, Bounds>,
): { body: SystemConfigUpdate; errors: FieldErrors } {
  const body: SystemConfigUpdate = {};
  const errors: FieldErrors = {};
  for (const [field, text] of Object.entries(draft) as [Field, string][]) {
    const parsed = parseField(text, bounds[field]);
    if ('error' in parsed) errors[field] = parsed.error;
    else if (parsed.value !== config[field]) body[field] = parsed.value;
  }
  return { body, errors };
}

/** Sorts the entries of a 422 to their fields; what belongs to none comes first in words. */
export function sortErrors<Name extends string>(
  items: ValidationErrorItem[],
  fields: readonly Name[],
): { byField: Partial<Record<Name, string>>; others: string[] } {
  const byField: Partial<Record<Name, string>> = {};
  const others: string[] = [];
  for (const { loc, msg } of items) {
    const field = fields.find((name) => loc[0] === 'body' && loc[1] === name);
    if (field === undefined) others.push(`${loc.join('.')}: ${msg}`);
    else byField[field] = byField[field] === undefined ? msg : `${byField[field]}; ${msg}`;
  }
  return { byField, others };
}

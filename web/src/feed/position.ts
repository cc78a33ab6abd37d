/** Compares positions of the live stream, `<epoch>-<number>`. */

interface Position {
  epoch: string;
  number: number;
}

function parse(text: string): Position | undefined {
  const [, epoch, number] = /^(.+)-([0-9]+)$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch, number: Number(number) };
}

/**
 * Tells whether what lies at `position` is covered by what was read at `until`. Positions of
 * different databases cover nothing of each other.
 */
export function isCovered(position: string, until: string): boolean {
  const at = parse(position);
  const read = parse(until);
  if (at === undefined || read === undefined) return position === until;
  return at.epoch === read.epoch && at.number <= read.number;
}

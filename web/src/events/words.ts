import type { Event as SeenEvent } from '@hsi/client';

/** Kinds that stand for others, as the contract has them under ObjectTypes. */
const kinds: Record<string, readonly string[]> = {
  vehicle: ['car', 'truck', 'bus', 'motorcycle', 'bicycle', 'boat', 'train', 'airplane'],
  animal: ['bird', 'cat', 'dog', 'horse', 'sheep', 'cow', 'elephant', 'bear', 'zebra', 'giraffe'],
};

/** Tells whether an event has an object of a kind, by its own name or as one of its group. */
export function hasKind(
  { object_types: types }: Pick<SeenEvent, 'object_types'>,
  kind: string,
): boolean {
  return types.some(
    (type) => type.toLowerCase() === kind || kinds[kind]?.includes(type.toLowerCase()),
  );
}

/** What was seen, in few words: "Person", "Person and dog", "Person, dog and car", "Motion". */
export function wordObjects(types: readonly string[]): string {
  // "motion" says nothing beside a name.
  const named = types.filter((type) => type !== 'motion' && type !== '');
  if (named.length === 0) return 'Motion';
  const shown = named.slice(0, 3);
  if (named.length > 3) shown[2] = `${named.length - 2} more`;
  const last = shown.pop() ?? '';
  const text = shown.length === 0 ? last : `${shown.join(', ')} and ${last}`;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Where it was, as somebody would say it. */
export function wordCamera(event: Pick<SeenEvent, 'camera_id' | 'camera_name'>): string {
  return event.camera_name ?? event.camera_id;
}

/** An event in one line: "Person at Front door". */
export function wordEvent(event: SeenEvent): string {
  return `${wordObjects(event.object_types)} at ${wordCamera(event)}`;
}

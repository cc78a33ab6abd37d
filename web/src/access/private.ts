import { StatusError } from '@hsi/client';

import type { Access } from './access.ts';

interface Failed {
  ok: false;
  status: number;
  data: unknown;
}

/**
 * The body of a 2xx answer to a question about what the cameras saw. Any other is thrown as a
 * `StatusError`; one that wants a key is also told to `access`, which lets the page ask for it.
 */
export async function askPrivate<R extends { ok: boolean; status: number; data: unknown }>(
  access: Access,
  question: Promise<R>,
): Promise<Extract<R, { ok: true }>['data']> {
  const result = await question;
  if (result.ok) return (result as Extract<R, { ok: true }>).data;
  if (result.status === 401) access.refuse(result.data);
  throw new StatusError(
    result as unknown as Failed as ConstructorParameters<typeof StatusError>[0],
  );
}

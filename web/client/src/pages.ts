import type { Client } from './client.js';
import { unwrap, type Failure, type Success } from './result.js';

/** The options of a list that is read page by page. */
interface ListOptions {
  query?: { cursor?: string | undefined; offset?: number | undefined } | undefined;
}

/**
 * Reads a list to its end, page after page, each when its first row is asked for. A page that is
 * not answered with 200 ends it with a `StatusError`.
 */
export async function* eachRow<Row, ListsOptions extends ListOptions>(
  list: (
    client: Client,
    options: ListsOptions,
  ) => Promise<Success<number, unknown> | Failure<number, unknown>>,
  key: string,
  client: Client,
  options: ListsOptions | undefined,
): AsyncGenerator<Row, void, undefined> {
  let page = { ...options } as ListsOptions;
  for (;;) {
    // The contract says under which key a page has its rows.
    const data = unwrap(await list(client, page)) as Record<string, Row[]> & {
      next_cursor: string | null;
    };
    yield* data[key] ?? [];
    if (data.next_cursor === null) return;
    page = { ...page, query: { ...page.query, offset: undefined, cursor: data.next_cursor } };
  }
}

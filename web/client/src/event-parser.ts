/** One server-sent event. */
export interface ServerSentEvent {
  type: string;
  data: string;
  lastEventId: string | null;
}

/**
 * Reads server-sent events as the HTML standard (9.2.6, "Interpreting an event stream") has it,
 * from text that is cut anywhere. An event that is not finished has not happened: its id does not
 * count either.
 */
export class EventParser {
  /** Where the stream goes on. */
  lastEventId: string | null;
  /** How long to wait before another connection, once the server has said it. */
  retryMs: number | undefined;

  #line = ''; // the beginning of a line whose end is still to come
  #endedWithReturn = false; // a line feed that comes next belongs to the line before
  #id: string | null;
  #type = '';
  #data: string[] = [];

  constructor(lastEventId: string | null) {
    this.lastEventId = lastEventId;
    this.#id = lastEventId;
  }

  /** Takes in more of the text and gives the events that are finished by it. */
  push(text: string): ServerSentEvent[] {
    if (text === '') return [];
    const rest = this.#endedWithReturn && text.startsWith('\n') ? text.slice(1) : text;
    this.#endedWithReturn = text.endsWith('\r');
    const [first = '', ...others] = rest.split(/\r\n|\n|\r/);
    const lines = [this.#line + first, ...others];
    this.#line = lines.pop() ?? '';
    return lines.map((line) => this.#take(line)).filter((event) => event !== undefined);
  }

  #take(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#finish();
    const [, name = '', value = ''] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    switch (name) {
      case 'event':
        this.#type = value;
        break;
      case 'data':
        this.#data.push(value);
        break;
      case 'id':
        if (!value.includes('\0')) this.#id = value === '' ? null : value;
        break;
      case 'retry':
        if (/^[0-9]+$/.test(value)) this.retryMs = Number(value);
        break;
      default: // a comment, whose name is empty, or what is not known
    }
    return undefined;
  }

  #finish(): ServerSentEvent | undefined {
    this.lastEventId = this.#id;
    const event = {
      type: this.#type === '' ? 'message' : this.#type,
      data: this.#data.join('\n'),
      lastEventId: this.#id,
    };
    const hasData = this.#data.length > 0;
    this.#type = '';
    this.#data = [];
    return hasData ? event : undefined;
  }
}

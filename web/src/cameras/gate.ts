/** Lets so many tasks run at a time; the others wait, the first come first. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    while (this.#free === 0) await new Promise<void>((wake) => this.#waiting.push(wake));
    this.#free -= 1;
    try {
      return await task();
    } finally {
      this.#free += 1;
      this.#waiting.shift()?.();
    }
  }
}

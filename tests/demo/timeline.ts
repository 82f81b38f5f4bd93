/** What happened when, printed as it happens and again as a table at the end. */
export class Timeline {
  readonly #started = performance.now();
  #last = this.#started;
  readonly #marks: { step: string; at: number; took: number; detail: string }[] = [];

  /** A line that is only shown now. */
  note(text: string): void {
    console.log(`${this.#clock()} ${text}`);
  }

  /** The end of a step: shown now and in the table. */
  mark(step: string, detail = ""): void {
    const now = performance.now();
    this.#marks.push({ step, at: now - this.#started, took: now - this.#last, detail });
    this.#last = now;
    console.log(`${this.#clock()} ✔ ${step}${detail ? `: ${detail}` : ""}`);
  }

  table(): string {
    const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`.padStart(9);
    const width = Math.max(...this.#marks.map((mark) => mark.step.length), 4);
    const rows = this.#marks.map(
      (mark) => `${mark.step.padEnd(width)} ${seconds(mark.took)} ${seconds(mark.at)}`,
    );
    return [`${"step".padEnd(width)}      took        at`, ...rows].join("\n");
  }

  #clock(): string {
    return `[${((performance.now() - this.#started) / 1_000).toFixed(1).padStart(6)} s]`;
  }
}

/**
 * A value that must not be printed. Every usual way of printing gives `[secret]`; only `expose()` gives the
 * text, so that a review can find each place where a secret leaves its wrapper by searching for that word.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The text itself. Call it only where the text is handed to the system that needs it. */
  expose(): string {
    return this.#value;
  }

  toString(): string {
    return "[secret]";
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }
}

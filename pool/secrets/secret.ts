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

/** Shorter ones are words, and would tear texts apart. */
const shortest = 6;

/** `text` with each of the secrets replaced that stands in it, also a line of one that has several. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  return secrets
    .flatMap((secret) => [secret, ...secret.split("\n")])
    .filter((secret) => secret.length >= shortest && !secret.startsWith("-----"))
    .sort((a, b) => b.length - a.length)
    .reduce((clean, secret) => clean.replaceAll(secret, "[secret]"), text);
}

/**
 * JSON lines with the ids of order, machine and operation on each. Secrets are wrapped types that print as `[secret]`;
 * the scrubber here is the second line: whatever reaches the stream passes a filter of the known shapes.
 */
import { type DestinationStream, destination, type Logger, pino } from "pino";

/**
 * A word begins. `\b` would not do: in a line of JSON the `n` of an escaped line end stands before the word, and a token
 * at the beginning of a line of some program's output would pass.
 */
const begin = String.raw`(?:(?<![A-Za-z0-9])|(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4}))`;

/** Shapes of secrets by their owners' own prefixes; PEM blocks; a Hetzner token is 64 letters and digits. */
const shapes: readonly RegExp[] = [
  /tskey-(?:auth|client|api|webhook)-[A-Za-z0-9-]+/g,
  /(?:sk|rk)_(?:live|test)_[A-Za-z0-9_]+/g,
  /whsec_[A-Za-z0-9+/=_-]+/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:\\n[A-Za-z0-9+/=]*)+(?:\\n-----END [A-Z ]*PRIVATE KEY-----)?/g,
  /Bearer [A-Za-z0-9._~+/=-]{16,}/g,
  // Keys of model providers and tokens of Telegram bots: the customer's own.
  new RegExp(`${begin}sk-[A-Za-z0-9_-]{16,}`, "g"),
  new RegExp(`${begin}\\d{8,10}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])`, "g"),
  // With a capital letter: a SHA-256 in hexadecimal has 64 characters too, and audit lines are full of them. A public key
  // may have 64 letters and digits before its first slash.
  new RegExp(
    `${begin}(?<!ssh-ed25519 )(?=[A-Za-z]*\\d)(?=\\d*[A-Za-z])(?=[A-Za-z0-9]*[A-Z])[A-Za-z0-9]{64}(?![A-Za-z0-9])`,
    "g",
  ),
];

/** Replaces everything that has the shape of a secret. */
export function scrub(text: string): string {
  return shapes.reduce((clean, shape) => clean.replace(shape, "[secret]"), text);
}

/** @param to where lines go; standard output if absent. */
export function createLog(level: string, to: DestinationStream = destination({ fd: 1, sync: true })): Logger {
  return pino(
    {
      level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => to.write(scrub(line)) },
  );
}

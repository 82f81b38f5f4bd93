import { randomBytes } from "node:crypto";

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id in Stripe's form: prefix and that many letters and digits. */
export function makeId(prefix: string, length: number): string {
  let id = prefix;
  // 248 = 4 * 62: bytes above would favour the first letters.
  while (id.length < prefix.length + length) {
    for (const byte of randomBytes(length)) {
      if (byte < 248 && id.length < prefix.length + length) id += alphabet[byte % 62];
    }
  }
  return id;
}

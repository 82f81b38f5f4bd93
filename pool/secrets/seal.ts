/**
 * Sealing of secrets at rest: AES-256-GCM with a random 96-bit IV, authenticated together with the place where the
 * text belongs, so that a ciphertext cannot be moved to another row (NIST SP 800-38D; ≤ 2^32 messages a key with
 * random IVs, which an installation never reaches). Rotation: the first key seals, all keys open.
 */
import { createCipheriv, createDecipheriv, createHash, createSecretKey, randomBytes } from "node:crypto";
import { z } from "zod";
import { Secret } from "./secret.ts";

const sealedShape = z.object({
  v: z.literal(1),
  kid: z.string(),
  iv: z.string(),
  ct: z.string(),
  tag: z.string(),
});

const tagBytes = 16;

export interface Sealer {
  /** Seals `text` for `place`, e.g. `order/o-123/secrets`. */
  seal(text: string, place: string): string;
  /** @throws Error when the place differs, the key is unknown or the text was changed; the message holds no secret. */
  open(sealed: string, place: string): string;
}

/**
 * @param keys base64 of 32 bytes each; the first seals.
 * @throws Error naming the key's position when one is not 32 bytes of base64.
 */
export function createSealer(keys: readonly Secret[]): Sealer {
  const known = keys.map((key, index) => {
    const bytes = Buffer.from(key.expose(), "base64");
    if (bytes.length !== 32) {
      throw new Error(
        `sealing key ${index + 1}: want 32 bytes in base64 (openssl rand -base64 32), got ${bytes.length}`,
      );
    }
    return { id: keyId(bytes), key: createSecretKey(bytes) };
  });
  const first = known[0];
  if (!first) throw new Error("no sealing key: want at least one (openssl rand -base64 32)");

  return {
    seal(text, place) {
      const iv = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", first.key, iv, { authTagLength: tagBytes });
      cipher.setAAD(Buffer.from(place, "utf8"));
      const ct = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
      const base64 = (bytes: Buffer) => bytes.toString("base64");
      return JSON.stringify({
        v: 1,
        kid: first.id,
        iv: base64(iv),
        ct: base64(ct),
        tag: base64(cipher.getAuthTag()),
      });
    },
    open(sealed, place) {
      const { kid, iv, ct, tag } = sealedShape.parse(JSON.parse(sealed));
      const by = known.find((candidate) => candidate.id === kid);
      if (!by) throw new Error(`sealed text of ${place} needs sealing key ${kid}, which is not configured`);
      // authTagLength makes Node refuse the short tags that GCM would otherwise accept.
      const decipher = createDecipheriv("aes-256-gcm", by.key, Buffer.from(iv, "base64"), {
        authTagLength: tagBytes,
      });
      decipher.setAAD(Buffer.from(place, "utf8"));
      decipher.setAuthTag(Buffer.from(tag, "base64"));
      try {
        return decipher.update(Buffer.from(ct, "base64"), undefined, "utf8") + decipher.final("utf8");
      } catch {
        throw new Error(`sealed text of ${place} does not open: wrong place, or changed`);
      }
    },
  };
}

/** What sealed texts name these keys by (`kid`). */
export const sealingKeyIds = (keys: readonly Secret[]): string[] =>
  keys.map((key) => keyId(Buffer.from(key.expose(), "base64")));

const keyId = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex").slice(0, 8);

/** A new sealing key. */
export function newSealingKey(): Secret {
  return new Secret(randomBytes(32).toString("base64"));
}

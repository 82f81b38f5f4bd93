/** SSH key pairs and public lines, ed25519 only. */
import { createRequire } from "node:module";
import { Secret } from "../secrets/secret.ts";

// ssh2 is CommonJS and sets `utils` in a way that Node's named-export detection does not see.
const { utils } = createRequire(import.meta.url)("ssh2") as typeof import("ssh2");

export interface SshKeyPair {
  /** OpenSSH PEM, without a passphrase. */
  readonly privateKey: Secret;
  /** `ssh-ed25519 AAAA… <comment>` */
  readonly publicKey: string;
}

/**
 * A new ed25519 pair. `comment` ends up in both halves; it must have no line end.
 *
 * About one pair in 256 that ssh2 1.17.0 makes cannot be read by anybody (18 of 5,000; a key part that begins with a
 * zero byte comes out a byte short), so each is read back and made again if that fails.
 */
export function generateKeyPair(comment = ""): SshKeyPair {
  for (;;) {
    const pair = utils.generateKeyPairSync("ed25519", { comment });
    const readable = [pair.private, pair.public].every((half) => !(utils.parseKey(half) instanceof Error));
    if (readable) return { privateKey: new Secret(pair.private), publicKey: pair.public.trim() };
  }
}

/** The public line of an OpenSSH PEM. @throws Error if it is not an unencrypted ed25519 key */
export function publicKeyOf(privateKey: string): string {
  const key = utils.parseKey(privateKey);
  if (key instanceof Error || !key.isPrivateKey()) throw new Error("not an OpenSSH private key");
  const line = `ssh-ed25519 ${key.getPublicSSH().toString("base64")}`;
  publicKeyBytes(line);
  return line;
}

const linePattern = /^ssh-ed25519 ([A-Za-z0-9+/]{68}={0,2})(?: [^\r\n]*)?$/;

/** The wire form of an `ssh-ed25519 AAAA…` line. @throws Error if it is not one */
export function publicKeyBytes(line: string): Buffer {
  const encoded = linePattern.exec(line.trim())?.[1];
  const bytes = Buffer.from(encoded ?? "", "base64");
  // 4 + "ssh-ed25519" + 4 + 32: RFC 8709, section 4.
  if (bytes.length !== 51 || bytes.toString("latin1", 4, 15) !== "ssh-ed25519") {
    throw new Error("not an ssh-ed25519 public key line");
  }
  return bytes;
}

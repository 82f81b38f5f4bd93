/** sshd's authorized_keys, as far as folder machines need it: keys, and the option `command="…"`. */
import { createRequire } from "node:module";

const { utils } = createRequire(import.meta.url)("ssh2") as typeof import("ssh2");

export interface AuthorizedKey {
  /** Wire form of the public key. */
  readonly blob: Buffer;
  readonly verify: (data: Buffer, signature: Buffer, hashAlgorithm?: string) => boolean;
  /** The forced command, or null. */
  readonly command: string | null;
}

/** Adds keys to a file that may have some, as cloud-init does: what is there stays. */
export function mergedKeys(text: string, keys: readonly string[]): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const added = keys.map((key) => key.trim()).filter((key) => !lines.includes(key));
  return [...lines, ...added].map((line) => `${line}\n`).join("");
}

/** Lines that are no key are skipped, as sshd does. */
export function authorizedKeys(text: string): AuthorizedKey[] {
  return text.split("\n").flatMap((line) => {
    const [, options = "", key = ""] = /^\s*(.*?)\s*(ssh-ed25519 [A-Za-z0-9+/=]+.*)$/.exec(line) ?? [];
    const parsed = key === "" ? new Error("no key") : utils.parseKey(key);
    if (parsed instanceof Error) return [];
    const command = /(?:^|,)command="((?:[^"\\]|\\.)*)"/.exec(options)?.[1]?.replace(/\\"/g, '"') ?? null;
    return [
      {
        blob: parsed.getPublicSSH(),
        verify: (data, signature, hash) => parsed.verify(data, signature, hash) === true,
        command,
      },
    ];
  });
}

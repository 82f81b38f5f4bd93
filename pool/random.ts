/** Chance as the daemon uses it; injected, so that a simulated run can be repeated from its seed. */
import { hash, randomBytes } from "node:crypto";
import { generateKeyPair, type SshKeyPair } from "./ssh/keys.ts";

export interface Random {
  /** In [0, 1). */
  number(): number;
  bytes(count: number): Buffer;
  keyPair(): SshKeyPair;
}

/** The operating system's; what names, tokens and keys are made of. */
export const systemRandom: Random = {
  number: Math.random,
  bytes: randomBytes,
  keyPair: () => generateKeyPair(),
};

/** [0, 1), the same for the same text: a spread that needs no column and survives a restart. */
export const spread = (text: string): number => hash("sha256", text, "buffer").readUInt32BE() / 2 ** 32;

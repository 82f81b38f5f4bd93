/**
 * The audit log's last row, noted beside the store: a store that does not have that row is older than the last one that
 * ran here, or another (somebody copied a file over it), and what it says of machines may be wrong.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { replaceFile } from "../durable-file.ts";
import { type AuditHead, headText } from "./audit-chain.ts";
import type { Store } from "./store.ts";

const shape = z.object({ seq: z.int().min(1), hash: z.string().regex(/^[0-9a-f]{64}$/) });

export const witnessFile = (stateDir: string): string => join(stateDir, "store-witness.json");

/** Notes the store's head; to be called now and then, and at the end. */
export async function noteWitness(stateDir: string, store: Pick<Store, "auditHead">): Promise<void> {
  const head = store.auditHead();
  if (head) await replaceFile(witnessFile(stateDir), `${JSON.stringify(head)}\n`);
}

/** Why the store is not the one that ran here last, in words; null when it is, or when nothing was noted. */
export function contradiction(
  stateDir: string,
  store: Pick<Store, "auditHash" | "auditHead">,
): string | null {
  const noted = readWitness(stateDir);
  if (!noted || store.auditHash(noted.seq) === noted.hash) return null;
  const head = store.auditHead();
  const is = head ? `its last row is ${headText(head)}` : "it has none";
  return `the store is older than the last that ran here, or another: it lacks audit row ${headText(noted)}, ${is}`;
}

function readWitness(stateDir: string): AuditHead | null {
  try {
    return shape.parse(JSON.parse(readFileSync(witnessFile(stateDir), "utf8")));
  } catch {
    // Never noted, or a note that cannot be read: then nothing is known, as before there were notes.
    return null;
  }
}

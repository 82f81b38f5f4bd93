/** Files that are there as a whole or not at all, whenever the power goes. */
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/** Writers of one file wait for each other: they would take each other's draft. */
const writing = new Map<string, Promise<void>>();

/** Writes `content` (mode 0600) in the place of whatever was there; durable when it resolves. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  const before = writing.get(path) ?? Promise.resolve();
  const own = before.catch(() => {}).then(() => replace(path, content));
  writing.set(path, own);
  try {
    await own;
  } finally {
    if (writing.get(path) === own) writing.delete(path);
  }
}

async function replace(path: string, content: string | Uint8Array): Promise<void> {
  const draft = `${path}.draft`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await moveFile(draft, path);
}

/** Gives a written and synced file its name; durable when it resolves. Removes it when that fails. */
export async function moveFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    await rm(from, { force: true });
    throw error;
  }
  const folder = await open(dirname(to), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

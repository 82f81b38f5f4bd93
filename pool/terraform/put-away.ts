/** Terraform's folders as a sweep sees them, and where those go that no machine has any more. */
import { mkdir, readdir, rename, stat } from "node:fs/promises";
import { join } from "node:path";
import { BorderError } from "../errors.ts";
import { isStackName, stackFolder, stateFileOf } from "./folders.ts";
import { readState } from "./state-file.ts";
import type { StackFolder } from "./terraform.ts";

/** @param isRunning whether terraform runs in the folder of this stack */
export async function listFolders(
  root: string,
  isRunning: (name: string) => Promise<boolean>,
): Promise<StackFolder[]> {
  const machines = join(root, "machines");
  const names = await readdir(machines).catch((error: NodeJS.ErrnoException) => {
    // Before the first machine.
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const found: StackFolder[] = [];
  for (const name of names.filter(isStackName).sort()) {
    const folder = stackFolder(root, name);
    const times = await Promise.all(
      [folder, stateFileOf(folder)].map((path) =>
        stat(path).then(
          ({ mtimeMs }) => mtimeMs,
          () => 0,
        ),
      ),
    );
    found.push({
      name,
      ...(await contentOf(folder)),
      isRunning: await isRunning(name),
      changedAt: Math.round(Math.max(...times)),
    });
  }
  return found;
}

async function contentOf(folder: string): Promise<Pick<StackFolder, "content" | "resources">> {
  try {
    const state = await readState(folder);
    if (state?.empty) return { content: "cut-off", resources: 0 };
    const resources = state?.resources ?? 0;
    return { content: resources > 0 ? "resources" : "nothing", resources };
  } catch (error) {
    if (error instanceof BorderError && error.code === "state-unreadable")
      return { content: "unreadable", resources: 0 };
    throw error;
  }
}

/** Moves the folder as it is to `<root>/archive/<name>-<now>`. @returns where it is now */
export async function archiveFolder(root: string, name: string, now: number): Promise<string> {
  const archive = join(root, "archive");
  await mkdir(archive, { recursive: true, mode: 0o700 });
  const to = join(archive, `${name}-${now}`);
  await rename(stackFolder(root, name), to);
  return to;
}

/** What a machine is prepared by, as one hash: a machine whose `installed.recipe` differs was prepared by another. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

export interface RecipeSource {
  readonly playbook: string;
  /** Vars of every run; what differs from machine to machine does not belong to the recipe. */
  readonly vars?: Readonly<Record<string, unknown>>;
  /** Text of the hand-over program, which does not lie beside every playbook. */
  readonly program?: string;
}

/** SHA-256, in hex, of every file in the playbook's folder, of the vars and of the program. */
export async function recipeOf({ playbook, vars = {}, program = "" }: RecipeSource): Promise<string> {
  const folder = dirname(playbook);
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("__pycache__"))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  const hash = createHash("sha256").update(JSON.stringify(vars, sorted)).update(`\0${program}`);
  for (const file of files) {
    const content = await readFile(file);
    hash.update(`\0${relative(folder, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

/** Objects with their keys in order: the same vars written in another order are the same recipe. */
function sorted(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

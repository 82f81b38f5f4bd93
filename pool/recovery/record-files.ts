/** The records' files: one folder of the state folder, mode 0700, a file a record. */
import { mkdirSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "../durable-file.ts";
import type { RecordFiles } from "./records.ts";

const suffix = ".json";

/** The folder's name below the state folder. */
export const recordsFolder = "records";

export function openRecordFiles(stateDir: string): RecordFiles {
  const folder = join(stateDir, recordsFolder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = (name: string) => join(folder, `${name}${suffix}`);
  return {
    list: async () =>
      (await readdir(folder))
        .filter((file) => file.endsWith(suffix))
        .map((file) => file.slice(0, -suffix.length))
        .sort(),
    read: (name) =>
      readFile(path(name), "utf8").catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return null;
        throw error;
      }),
    write: (name, text) => replaceFile(path(name), text),
    remove: (name) => rm(path(name), { force: true }),
  };
}

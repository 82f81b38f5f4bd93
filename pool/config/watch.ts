/** The configuration in force, replaced as a whole when the file changes and the new one is usable. */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Logger } from "pino";
import type { Releasers } from "../releasers.ts";
import { Secret } from "../secrets/secret.ts";
import type { Config } from "./config.ts";
import { loadConfig } from "./load.ts";

/** Editors write a file in several steps; the last of them counts. */
const quietMs = 200;

/** Parts that are wired at the start: a change of these needs a restart, and is refused with that sentence. */
const fixed = [
  "instance",
  "stateDir",
  "hetzner",
  "stripe",
  "tailnet",
  "sealingKeys",
  "terraform",
  "prepare",
  "api",
  "network",
  "log",
] as const;

/**
 * @param onApplied told when another configuration is in force
 * @returns a function that gives the configuration in force now
 */
export function watchConfig(
  initial: Config,
  file: string | undefined,
  log: Logger,
  releasers: Releasers,
  onApplied: () => void = () => {},
): () => Config {
  let current = initial;
  if (!file) return () => current;
  let timer: NodeJS.Timeout | undefined;

  const reload = (): void => {
    try {
      const next = loadConfig(file);
      const needRestart = fixed.filter((part) => comparable(next[part]) !== comparable(current[part]));
      if (needRestart.length > 0) {
        log.error(
          { parts: needRestart },
          "configuration not applied: these parts need a restart of the daemon",
        );
        return;
      }
      if (comparable(next) === comparable(current)) return;
      current = next;
      log.info({ file }, "configuration applied");
      onApplied();
    } catch (error) {
      log.error({ err: error }, "configuration not applied; the one in force stays");
    }
  };

  // The folder, not the file: editors replace the file, and a watch on it would follow the old one.
  const watcher: FSWatcher = watch(dirname(file), (_event, name) => {
    if (name !== basename(file)) return;
    clearTimeout(timer);
    timer = setTimeout(reload, quietMs);
  });
  releasers.add("configuration watch", () => {
    clearTimeout(timer);
    watcher.close();
  });
  return () => current;
}

/** Secrets are compared by their text, which never leaves this function (`toJSON` would make them all alike). */
function comparable(value: unknown): string {
  if (value instanceof Secret) return JSON.stringify(value.expose());
  if (Array.isArray(value)) return `[${value.map(comparable).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "";
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}:${comparable(item)}`)
    .join()}}`;
}

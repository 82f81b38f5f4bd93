/** The configuration in force, replaced as a whole when the file changes and the new one is usable. */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Logger } from "pino";
import type { Releasers } from "../releasers.ts";
import { type ConfigChange, comparable, configChange } from "./changes.ts";
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
  "api",
  "network",
  "log",
] as const;

export interface ConfigListener {
  /** Another configuration is in force. */
  applied(change: ConfigChange): void;
  /** The file changed, and the configuration in force stays; `why` is for the operator. */
  refused(why: string): void;
}

/** @returns a function that gives the configuration in force now */
export function watchConfig(
  initial: Config,
  file: string | undefined,
  log: Logger,
  releasers: Releasers,
  listener?: ConfigListener,
): () => Config {
  let current = initial;
  if (!file) return () => current;
  let timer: NodeJS.Timeout | undefined;

  const reload = (): void => {
    try {
      const next = loadConfig(file);
      const needRestart: string[] = fixed.filter(
        (part) => comparable(next[part]) !== comparable(current[part]),
      );
      // The rest of `prepare` begins a roll-out.
      if (next.prepare.collectionsPath !== current.prepare.collectionsPath)
        needRestart.push("prepare.collections_path");
      if (needRestart.length > 0) {
        log.error(
          { parts: needRestart },
          "configuration not applied: these parts need a restart of the daemon",
        );
        listener?.refused(`these parts need a restart of the daemon: ${needRestart.join(", ")}`);
        return;
      }
      if (comparable(next) === comparable(current)) return;
      const change = configChange(current, next);
      current = next;
      log.info({ file }, "configuration applied");
      listener?.applied(change);
    } catch (error) {
      log.error({ err: error }, "configuration not applied; the one in force stays");
      listener?.refused(error instanceof Error ? error.message : String(error));
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

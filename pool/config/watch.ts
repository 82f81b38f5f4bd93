/** The configuration in force, replaced as a whole when the file changes and the new one is usable. */
import { type FSWatcher, readFileSync, statSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { Logger } from "pino";
import type { Releasers } from "../releasers.ts";
import { type ConfigChange, comparable, configChange } from "./changes.ts";
import type { Config } from "./config.ts";
import { type ConfigSource, loadSource } from "./load.ts";

/** Editors write a file in several steps; the last of them counts. */
const quietMs = 200;

/** Parts that are wired at the start: a change of these needs a restart, and is refused with that sentence. */
const fixed = {
  instance: "instance",
  stateDir: "state_dir",
  hetzner: "hetzner",
  stripe: "stripe",
  tailnet: "tailnet",
  sealingKeys: "sealing_keys",
  terraform: "terraform",
  api: "api",
  network: "network",
  log: "log",
} as const satisfies Partial<Record<keyof Config, string>>;
const fixedCollections = "prepare.collections_path";

/** Whether a key, as `configChange` names it, is of a part that needs a restart. */
export function needsRestart(key: string): boolean {
  const [part] = key.split(".");
  return key === fixedCollections || Object.values(fixed).some((name) => name === part);
}

export interface Applied {
  readonly before: ConfigSource;
  readonly source: ConfigSource;
  readonly change: ConfigChange;
  /** The person who asked for it, else who owns the file. */
  readonly actor: string;
  readonly how: "reload" | "apply";
}

export interface ConfigListener {
  /** Another configuration is in force. */
  applied(applied: Applied): void;
  /** The file changed, and the configuration in force stays; `why` is for the operator. */
  refused(why: string): void;
}

export type Reloaded =
  | { readonly outcome: "applied"; readonly change: ConfigChange }
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "refused"; readonly why: string };

export interface ConfigWatch {
  /** The configuration in force now. */
  current(): Config;
  readonly path: string;
  /** Reads the file at once, because this person asks for it. */
  reload(actor: string): Reloaded;
}

export function watchConfig(
  initial: ConfigSource,
  log: Logger,
  releasers: Releasers,
  listener?: ConfigListener,
): ConfigWatch {
  const { path } = initial;
  let current = initial;
  let timer: NodeJS.Timeout | undefined;

  const refuse = (why: string): Reloaded => {
    listener?.refused(why);
    return { outcome: "refused", why };
  };
  const reload = (how: Applied["how"], person: string | null): Reloaded => {
    try {
      const next = loadSource(path);
      const needRestart = partsToRestart(current.config, next.config);
      if (needRestart.length > 0) {
        log.error(
          { parts: needRestart },
          "configuration not applied: these parts need a restart of the daemon",
        );
        return refuse(`these parts need a restart of the daemon: ${needRestart.join(", ")}`);
      }
      if (comparable(next.config) === comparable(current.config)) return { outcome: "unchanged" };
      const change = configChange(current.file, next.file);
      const before = current;
      current = next;
      const actor = person ?? owner(path);
      log.info({ file: path, actor, ...change }, "configuration applied");
      listener?.applied({ before, source: next, change, actor, how });
      return { outcome: "applied", change };
    } catch (error) {
      log.error({ err: error }, "configuration not applied; the one in force stays");
      return refuse(error instanceof Error ? error.message : String(error));
    }
  };

  // The folder, not the file: editors replace the file, and a watch on it would follow the old one.
  const watcher: FSWatcher = watch(dirname(path), (_event, name) => {
    if (name !== basename(path)) return;
    clearTimeout(timer);
    timer = setTimeout(() => reload("reload", null), quietMs);
  });
  releasers.add("configuration watch", () => {
    clearTimeout(timer);
    watcher.close();
  });
  return { current: () => current.config, path, reload: (actor) => reload("apply", actor) };
}

function partsToRestart(before: Config, after: Config): string[] {
  const parts = (Object.keys(fixed) as (keyof typeof fixed)[])
    .filter((part) => comparable(after[part]) !== comparable(before[part]))
    .map((part) => fixed[part] as string);
  // The rest of `prepare` begins a roll-out.
  if (after.prepare.collectionsPath !== before.prepare.collectionsPath) parts.push(fixedCollections);
  return parts;
}

/** Who owns the file is who wrote it, as far as a file tells: an editor that puts another in its place makes it its user's. */
function owner(file: string): string {
  const { uid } = statSync(file);
  return `person:${userName(uid) ?? `uid-${uid}`}`;
}

/** Null for a user that is not in /etc/passwd, e.g. of a directory service. */
function userName(uid: number): string | null {
  try {
    const line = readFileSync("/etc/passwd", "utf8")
      .split("\n")
      .find((entry) => entry.split(":")[2] === String(uid));
    return line?.split(":")[0] ?? null;
  } catch {
    return null;
  }
}

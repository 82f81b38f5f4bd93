/** The daemon's store: opened only when it is whole, and begun anew only where there was none. */
import { terraformRoot } from "../borders.ts";
import type { Clock } from "../clock.ts";
import { createBudget } from "../cloud/budget.ts";
import { createCloud } from "../cloud/hetzner.ts";
import type { Config } from "../config/config.ts";
import { ours } from "../machine/labels.ts";
import { openSqliteStore, type SqliteStoreOptions } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { explained, inspectStore, lostStore, storeFile, tracesOf } from "../store/store-file.ts";

/**
 * A store that is not there is a new one only if nothing tells of an older: no folder, and no server with our labels.
 *
 * @throws NeedsPersonError when the store is lost or damaged; BorderError when the cloud cannot be asked for our servers
 */
export async function refuseLostStore(config: Config, clock: Clock): Promise<void> {
  const file = storeFile(config.stateDir);
  if (inspectStore(file) === "whole") return;
  const trace = tracesOf(config.stateDir, terraformRoot(config));
  if (trace) throw lostStore(file, trace);
  const { hetzner, instance } = config;
  const budget = createBudget({ requestsPerHour: hetzner.requestsPerHour, clock });
  const [server] = await createCloud({ ...hetzner, budget, clock }).servers(ours(instance));
  if (server) throw lostStore(file, `server ${server.name} with the labels of instance ${instance}`);
}

/** @throws Error in an operator's words when the file cannot be read or written */
export function openStore(stateDir: string, options: Omit<SqliteStoreOptions, "file">): Store {
  const file = storeFile(stateDir);
  try {
    const store = openSqliteStore({ ...options, file });
    store.putSetting("daemon/opened", String(process.pid));
    return store;
  } catch (error) {
    throw explained(error, file);
  }
}

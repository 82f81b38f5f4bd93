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
import { contradiction, noteWitness } from "../store/witness.ts";

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

/**
 * A store that somebody put in the place of the one that ran here last is in quarantine from now on, also when it was in an
 * earlier one.
 *
 * @throws Error when that cannot be noted beside it
 */
export async function quarantineOlderStore(stateDir: string, store: Store): Promise<void> {
  const doubt = contradiction(stateDir, store);
  if (doubt === null) return;
  store.enterQuarantine(doubt);
  // At once: to the next start it is the store that ran here last, and what a person released meanwhile stays so.
  await noteWitness(stateDir, store);
}

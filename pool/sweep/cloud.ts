/**
 * Cloud against store, both ways, in one listing: servers that we remember and the cloud does not have, and servers with
 * our labels that no row knows. It decides nothing on one look: a server must be missing twice, and a listing that failed
 * or is empty while rows have servers says nothing at all (an emptied list once made a cleaner delete everything).
 * Unknown servers are told to a person; nothing is deleted here.
 */
import type { Logger } from "pino";
import type { Cloud } from "../cloud/cloud.ts";
import { ours } from "../machine/labels.ts";
import type { Machine, MachineName } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";

/** States in which a server must exist. */
const haveServer = [
  "booting",
  "preparing",
  "proving",
  "ready",
  "claimed",
  "handing-over",
  "serving",
] as const;

export interface CloudSweep {
  /** One comparison. Errors of the cloud are logged and change nothing. */
  run(): Promise<void>;
}

export function createCloudSweep(options: {
  store: Store;
  cloud: Cloud;
  instance: () => string;
  log: Logger;
  /** A row changed: look at the machine. */
  poke: (name: MachineName) => void;
}): CloudSweep {
  const { store, cloud, log } = options;
  let missedBefore = new Set<MachineName>();
  let unknownBefore = new Set<number>();

  function vanished(machine: Machine): void {
    const reason = `server ${machine.serverId} is gone from the cloud`;
    log.error({ machine: machine.name, order: machine.order }, reason);
    if (machine.order) {
      // A customer's machine: what to do about it is a person's decision.
      store.flag("server-vanished", machine.name, `${machine.name} of order ${machine.order}: ${reason}`);
      return;
    }
    const state = machine.state === "ready" ? "retiring" : "failed";
    store.changeMachine(machine.name, machine.state, { state, deadline: null, reason }, reason);
    options.poke(machine.name);
  }

  return {
    async run() {
      let servers: Awaited<ReturnType<Cloud["servers"]>>;
      try {
        servers = await cloud.servers(ours(options.instance()));
      } catch (error) {
        log.warn({ err: error }, "the sweep could not list the servers; nothing is concluded");
        return;
      }
      const rows = store.machines({ states: haveServer }).filter((machine) => machine.serverId !== null);
      const ids = new Set(servers.map((server) => server.id));
      const missing = rows.filter((machine) => !ids.has(machine.serverId ?? 0));
      // One empty page with many rows is more likely a fault of the listing than the end of everything; each is asked for
      // by its id then, so that a real loss is still found.
      const confirmed: Machine[] = [];
      for (const machine of missing.filter((candidate) => missedBefore.has(candidate.name))) {
        const server = await cloud.server(machine.serverId ?? 0).catch(() => "unknown" as const);
        if (server === null) confirmed.push(machine);
      }
      missedBefore = new Set(missing.map((machine) => machine.name));
      for (const machine of confirmed) vanished(machine);
      const unknown = servers.filter((server) => store.machineByServerId(server.id) === null);
      // A server that is being made may be listed a moment before its id is recorded; the second look decides.
      for (const server of unknown.filter((candidate) => unknownBefore.has(candidate.id))) {
        const text = `server ${server.id} (${server.name}) carries our labels, but no row knows it; it costs money`;
        store.flag("unknown-server", server.name, text);
      }
      unknownBefore = new Set(unknown.map((server) => server.id));
    },
  };
}

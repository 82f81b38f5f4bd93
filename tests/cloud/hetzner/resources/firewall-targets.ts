import type { Context } from "../context.ts";
import { parseLabelSelector } from "../label-selector.ts";
import type { Stored } from "../store/documents.ts";

/** Hetzner's limit, label selectors included. */
export const maxFirewallsPerServer = 5;

/** Servers that a firewall reaches through one of its label selectors. */
export function selectedServers(context: Context, project: number, selector: string): Stored<"server">[] {
  const selects = parseLabelSelector(selector, "label_selector.selector");
  return context.store
    .list("server", project)
    .filter((server) => !server.reserved && server.ipv4 !== null && selects(server.labels));
}

export function isAppliedDirectly(firewall: Stored<"firewall">, server: number): boolean {
  return firewall.appliedTo.some((target) => target.type === "server" && target.server === server);
}

/** Every firewall of a server, named directly or by a label selector; `pending` until its action is done. */
export function firewallsOf(
  context: Context,
  server: Stored<"server">,
): { firewall: Stored<"firewall">; status: "applied" | "pending" }[] {
  return context.store
    .list("firewall", server.project)
    .filter((firewall) =>
      firewall.appliedTo.some((target) =>
        target.type === "server"
          ? target.server === server.id
          : parseLabelSelector(target.selector)(server.labels),
      ),
    )
    .map((firewall) => {
      const pending = context.actions.isRunning(
        "apply_firewall",
        { type: "firewall", id: firewall.id },
        { type: "server", id: server.id },
      );
      return { firewall, status: pending ? "pending" : "applied" };
    });
}

/** Takes a server that is being deleted out of every firewall. */
export function forgetServer(context: Context, server: Stored<"server">): void {
  for (const firewall of context.store.list("firewall", server.project)) {
    if (!isAppliedDirectly(firewall, server.id)) continue;
    context.store.update("firewall", firewall, {
      appliedTo: firewall.appliedTo.filter(
        (target) => target.type !== "server" || target.server !== server.id,
      ),
    });
  }
}

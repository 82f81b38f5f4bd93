import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { HoldAction } from "../order/hold.ts";
import type { Order } from "../order/order.ts";
import { askDaemon } from "./admin-client.ts";

/** A call of Stripe's that is repeated takes up to 40 s, and there are four. */
const timeoutMs = 3 * 60_000;

const actions: readonly [HoldAction, string][] = [
  ["suspend", "switch its machine off and keep it, whatever Stripe says"],
  ["resume", "serve it again, if Stripe does not say otherwise"],
  ["keep", "never destroy its machine, whatever ends"],
  ["follow", "take all of this back: Stripe decides again"],
];

/** `clawpool orders suspend|resume|keep|follow <order> --reason <text>`. */
export function registerHold(program: Command): void {
  const orders = program.commands.find((command) => command.name() === "orders");
  if (!orders) throw new Error("the command orders must be registered first");
  for (const [action, description] of actions) {
    const command = orders
      .command(action)
      .description(description)
      .argument("<order>")
      .requiredOption("--reason <text>", "kept in the audit log for ever");
    if (action === "resume") command.option("--anyway", "also if Stripe says otherwise, until `follow`");
    command.action(async (id: string, { reason, anyway = false }: { reason: string; anyway?: boolean }) => {
      const { stateDir } = loadConfig(program.opts().config);
      const actor = `person:${userInfo().username}`;
      const request = { action, why: reason, anyway, actor };
      const path = `/orders/${encodeURIComponent(id)}/hold`;
      console.log(describe(await askDaemon<Order>(stateDir, "POST", path, request, timeoutMs)));
    });
  }
}

function describe({ id, state, suspendedFor, suspendedWhy, keptAt }: Order): string {
  const power =
    suspendedFor === null
      ? `may be served (it is ${state})`
      : `is suspended (${suspendedFor}: ${suspendedWhy}); its server is switched off, and still billed`;
  return `Order ${id} ${power}.${keptAt === null ? "" : " Its machine is kept until `clawpool orders follow`."}`;
}

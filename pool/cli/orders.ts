import { userInfo } from "node:os";
import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import type { OrderPage } from "../order/list.ts";
import type { Order } from "../order/order.ts";
import type { OrderStory } from "../order/story.ts";
import { askDaemon } from "./admin-client.ts";
import { age, table } from "./table.ts";

interface ListOptions {
  readonly json?: boolean;
  readonly state?: string;
  readonly limit?: string;
  readonly cursor?: string;
}

/** `clawpool orders`, `clawpool orders show|retry <order>`. */
export function registerOrders(program: Command): void {
  const stateDir = () => loadConfig(program.opts().config).stateDir;
  const path = (order: string) => `/orders/${encodeURIComponent(order)}`;

  const orders = program
    .command("orders")
    .description("the newest orders, page by page")
    .option("--state <states>", "only these, with commas: failed,queued")
    .option("--limit <n>", "so many at once (default 50, at most 200)")
    .option("--cursor <cursor>", "go on where a page ended")
    .option("--json", "as JSON")
    .action(async ({ json, ...query }: ListOptions) => {
      const search = new URLSearchParams(Object.entries(query));
      const page = await askDaemon<OrderPage>(stateDir(), "GET", `/orders?${search}`);
      console.log(json ? JSON.stringify(page, null, 2) : listed(page));
    });

  orders
    .command("show <order>")
    .description("one order's whole story: machines it used up, errors, what was decided and by whom")
    .option("--json", "as JSON")
    .action(async (order: string, _: unknown, command: Command) => {
      const story = await askDaemon<OrderStory>(stateDir(), "GET", path(order));
      console.log(command.optsWithGlobals().json ? JSON.stringify(story, null, 2) : told(story));
    });

  orders
    .command("retry <order>")
    .description("start a failed order again: no second payment, machines anew")
    .action(async (order: string) => {
      const actor = `person:${userInfo().username}`;
      const { state, machine, suspendedFor, suspendedWhy } = await askDaemon<Order>(
        stateDir(),
        "POST",
        `${path(order)}/retry`,
        { actor },
      );
      const suspended = suspendedFor === null ? "" : `, and not served: ${suspendedWhy ?? suspendedFor}`;
      console.log(`${order} is ${state}${machine ? ` on ${machine}` : ""}${suspended}`);
    });
}

function listed({ orders, next }: OrderPage): string {
  const rows = orders.map((order) => [
    order.id,
    order.state,
    age(order.createdAt),
    order.plan,
    order.region,
    order.machine ?? "-",
    order.suspendedWhy ?? order.reason ?? "",
  ]);
  const text = table(["ORDER", "STATE", "AGE", "PLAN", "REGION", "MACHINE", "REASON"], rows);
  return next === null ? text : `${text}\n\nMore: --cursor ${next}`;
}

const time = (at: number | null): string => (at === null ? "-" : new Date(at).toISOString());
const indented = (text: string): string => text.replace(/^/gm, "      ");

/** For reading, not for programs: those take --json. */
function told({ order, position, attempts, machines, events, flags, audit }: OrderStory): string {
  const place = position === null ? "" : `, place ${position} in line`;
  const head = [
    `${order.id}: ${order.state}${place}${order.reason ? `: ${order.reason}` : ""}`,
    `  customer ${order.customer}, plan ${order.plan}, region ${order.region}, agent ${order.agentName}`,
    `  session ${order.checkoutSession ?? "-"}, subscription ${order.subscription ?? "-"}`,
    `  made ${time(order.createdAt)}, paid ${time(order.paidAt)}, serving since ${time(order.servingAt)}`,
  ];
  const used = attempts.flatMap(({ n, round, at, machine, kind, step, failure, reason, run, log }) => [
    `  ${n}. ${time(at)} ${machine}, ${kind}, while ${step}${failure ? ` (${failure})` : ""}: ${reason}`,
    ...(round > 0 ? [`      round ${round + 1}: a person had started it again`] : []),
    ...(run === null ? [] : [`      run ${run}`]),
    ...(log === null || log === "" ? [] : [indented(log)]),
  ]);
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ["", `${title}:`, ...lines];
  return [
    ...head,
    ...section(
      "Needs a person",
      flags.map(({ kind, text }) => `  ! ${kind}: ${text}`),
    ),
    ...section("Machines that it used up", used),
    ...section(
      "Machines that have seen it",
      machines.map(
        ({ name, state, location, serverId }) => `  ${name} ${state} ${location} ${serverId ?? "-"}`,
      ),
    ),
    ...section(
      "What happened",
      events.map(({ at, type, data }) => `  ${time(at)} ${type} ${JSON.stringify(data)}`),
    ),
    ...section(
      "What was decided",
      audit.map(({ at, actor, action, why }) => `  ${time(at)} ${actor} ${action}: ${why}`),
    ),
  ].join("\n");
}

/**
 * `npm run demo`: the whole way once, on real parts where this host can run them. Local cloud, daemon, a pool of three;
 * a customer buys, is served, gets an answer from the agent, cancels; the machine is destroyed and the bill is empty.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { becomeCustomer } from "../cloud/agent.ts";
import { type DaemonProcess, startDaemonProcess } from "../cloud/daemon-process.ts";
import { type LocalCloud, type MachineKind, startLocalCloud } from "../cloud/local-cloud.ts";
import { openShop, type Shop } from "../cloud/shop.ts";
import { startShopPage } from "./shop-page.ts";
import { Timeline } from "./timeline.ts";

const { values } = parseArgs({
  options: {
    machines: { type: "string" },
    stay: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
  },
});

const poolSize = 3;

function chooseMachines(): MachineKind {
  if (values.machines === "nspawn" || values.machines === "process") return values.machines;
  if (values.machines !== undefined) throw new Error(`--machines=${values.machines}: want nspawn or process`);
  return process.platform === "linux" && process.getuid?.() === 0 ? "nspawn" : "process";
}

const intentions: Record<MachineKind, readonly string[]> = {
  nspawn: [
    "Machines are real: Debian 12 with systemd in nspawn containers, OpenClaw's gateway, Tailscale.",
    "Stand-ins: Hetzner's API, terraform's provider, Tailscale's control plane, Stripe, the model, openclaw-ansible.",
    "The first run builds what is missing (a Debian root, Go programs, an npm cache) and takes about ten minutes;",
    "a later run takes about four. As root it installs missing Debian packages and says which.",
  ],
  process: [
    "Machines are folders with an SSH server each; terraform, Ansible, the hand-over program and the daemon are real.",
    "Stand-ins: systemd, sshd, OpenClaw's gateway, tailscaled, Hetzner's API, terraform's provider, Tailscale's control",
    "plane, Stripe, the model. Run it as root on Linux for the real ones. About a minute and a half the first time.",
  ],
};

async function main(): Promise<void> {
  const machines = chooseMachines();
  const timeline = new Timeline();
  console.log(`clawpool demo with ${machines} machines\n`);
  for (const line of intentions[machines]) console.log(`  ${line}`);
  console.log();

  const dir = await mkdtemp(join(tmpdir(), "clawpool-demo-"));
  const interrupted = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(signal));
  let cloud: LocalCloud | null = null;
  let daemon: DaemonProcess | null = null;
  const page = values.stay ? await startShopPage() : null;
  try {
    cloud = await startLocalCloud({ machines, dir, onProgress: (text) => timeline.note(text) });
    timeline.mark("local cloud runs");
    const operator = await cloud.writeConfig({ minReady: poolSize, ...(page ? { shopUrl: page.url } : {}) });
    daemon = await startDaemonProcess(operator.configFile, join(dir, "daemon.log"));
    cloud.stripe.setWebhook(`${daemon.url}/webhooks/stripe`);
    timeline.mark("daemon runs", `status page ${daemon.url}/, log ${daemon.logFile}`);
    await Promise.race([
      onceThrough(cloud, daemon, operator.apiToken, dir, timeline),
      new Promise((_, reject) =>
        interrupted.signal.addEventListener("abort", () => reject(new Error("interrupted"))),
      ),
    ]);
    if (page) {
      const local = cloud;
      page.open({
        shop: openShop(daemon.url, operator.apiToken),
        cloud: local,
        becomeCustomer: () => becomeCustomer(local, join(dir, "customer")),
      });
      console.log(`\nIt stays up until Ctrl-C. Buy at ${page.url}/`);
      console.log(`Status page: ${daemon.url}/  API token: ${operator.apiToken}`);
      console.log(`Operator's commands: node bin/clawpool.mjs -c ${operator.configFile} status`);
      await new Promise<void>((resolve) => interrupted.signal.addEventListener("abort", () => resolve()));
    }
  } finally {
    timeline.note("stopping");
    await page?.close();
    const code = await daemon?.stop();
    await cloud?.stop();
    if (values.keep) console.log(`kept: ${dir}`);
    else await rm(dir, { recursive: true, force: true });
    if (code) console.log(`the daemon ended with ${code}`);
  }
  console.log(`\n${timeline.table()}`);
}

async function onceThrough(
  cloud: LocalCloud,
  daemon: DaemonProcess,
  apiToken: string,
  dir: string,
  timeline: Timeline,
): Promise<void> {
  const shop = openShop(daemon.url, apiToken);
  await poolIs(shop, ({ ready }) => ready >= 1, timeline);
  timeline.mark("first machine is ready");

  const order = await shop.order();
  const served = shop.follow(order.id, ["running"], ({ type, data }) => {
    timeline.note(type === "step" ? `  ${data.step} after ${data.ms} ms` : `order is ${data.state}`);
  });
  const paidAt = performance.now();
  const { subscription, sent } = cloud.stripe.console.buy(order.checkout_session ?? "");
  await Promise.all([sent, served]);
  const view = await shop.view(order.id);
  timeline.mark(
    "payment served",
    `in ${Math.round(performance.now() - paidAt)} ms: ${view.machine?.name}, ${view.machine?.tailnet_address}`,
  );

  const { gateway_token: gatewayToken } = await shop.access(order.id);
  const customer = await becomeCustomer(cloud, join(dir, "customer"));
  try {
    const reply = await customer.ask(view, gatewayToken, "Say hello to the person who just paid.");
    timeline.mark("agent answers", JSON.stringify(reply));
  } finally {
    await customer.close();
  }

  await poolIs(shop, ({ ready }) => ready >= poolSize, timeline);
  timeline.mark("pool is full", `${poolSize} machines ready`);

  const released = shop.follow(order.id, ["released"]);
  await cloud.stripe.console.cancel(subscription.id).sent;
  await released;
  timeline.mark("cancelled, destroyed, closed");
  if (values.stay) return;

  await cloud.writeConfig({ minReady: 0 });
  await poolIs(shop, ({ live }) => live === 0, timeline);
  timeline.mark("pool emptied by a change of its config");

  console.log(`\nHetzner's bill:\n${describeBill(cloud)}`);
}

/** Follows the pool until it is as wanted, and says when it changes. */
async function poolIs(
  shop: Shop,
  wanted: (pool: { ready: number; live: number }) => boolean,
  timeline: Timeline,
): Promise<void> {
  let shown = "";
  for (;;) {
    const [pool] = (await shop.pool()).pools;
    if (!pool) throw new Error("the daemon has no pool");
    const states = Object.entries(pool.states).map(([state, count]) => `${count} ${state}`);
    const text = states.join(", ") || "empty";
    if (text !== shown) timeline.note(`pool: ${text}`);
    shown = text;
    if (wanted(pool)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

function describeBill(cloud: LocalCloud): string {
  const { lines, total, owedPerHour } = cloud.hetzner.bill();
  const rows = lines.map(
    (line) => `  ${line.name} ${line.type} ${line.location}: ${line.hours} h, ${line.amount.toFixed(4)} EUR`,
  );
  return [
    ...rows,
    `  total ${total.toFixed(4)} EUR; owed for every further hour: ${owedPerHour.toFixed(4)} EUR`,
  ].join("\n");
}

await main();

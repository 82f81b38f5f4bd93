/** One measured hand-over: from the webhook's request to a connection through the tailnet. */
import { randomBytes } from "node:crypto";
import { loadavg } from "node:os";
import { target } from "../../../pool/machine/boot.ts";
import { arm } from "../../../pool/machine/hand-over-session.ts";
import type { MachineName, OrderId } from "../../../pool/machine/machine.ts";
import { createSsh } from "../../../pool/ssh/ssh2.ts";
import { type Rig, until } from "./rig.ts";

const gatewayPort = 18_789;

export interface HandOver {
  readonly machine: MachineName;
  readonly order: string;
  /** Empty when nobody paid. */
  readonly subscription: string;
  /** The gateway token in force afterwards. */
  readonly token: string;
  /** How the gateway took its secrets. */
  readonly way: string;
  readonly totalMs: number;
  /** Milliseconds since the webhook's request, in the order in which they happened. */
  readonly marks: Readonly<Record<string, number>>;
  /** The machine's own clock: since the document was read. */
  readonly machineMs: Readonly<Record<string, number>>;
  /** From reachable to the reply; absent when nobody asked. */
  readonly chatMs?: number;
  readonly load: number;
}

/** Milliseconds of the epoch, finer than Date.now. */
const now = (): number => performance.timeOrigin + performance.now();

/** A TCP connection from the customer's node stands. @returns when (epoch ms) */
async function reach({ node }: Rig, address: string): Promise<number> {
  const signal = AbortSignal.timeout(30_000);
  for (;;) {
    try {
      await node.dial(address, gatewayPort, signal);
      return now();
    } catch (error) {
      if (signal.aborted) throw error;
      // Known to the customer's node as soon as the control server has told it.
      await node.api.waitForPeer(address, true, signal);
    }
  }
}

/** Longer than a machine's whole building. */
const patienceMs = 1_200_000;

function late(order: string): Promise<never> {
  return new Promise((_, reject) => {
    const text = `order ${order} does not run after ${patienceMs / 1_000} s; see the daemon's log`;
    setTimeout(() => reject(new Error(text)), patienceMs).unref();
  });
}

export interface MeasureOptions {
  readonly model?: string;
  /** Asks the agent something as soon as it is reachable. */
  readonly chat?: boolean;
}

/** @throws Error when the order fails. */
export async function measure(rig: Rig, options: MeasureOptions = {}): Promise<HandOver> {
  const { cloud, store, shop } = rig;
  const [load = 0] = loadavg();
  const order = await shop.order(options.model ? { model: options.model } : {});
  const listening = Promise.withResolvers<void>();
  const running = shop.follow(order.id, ["running"], () => listening.resolve());
  running.catch(listening.reject);
  await listening.promise;

  const { events, subscription, sent } = cloud.stripe.console.buy(order.checkout_session ?? "");
  await Promise.race([running, late(order.id)]);
  const view = await shop.view(order.id);
  const told = now();
  const address = view.machine?.tailnet_address;
  if (!address) throw new Error(`order ${order.id} runs without a tailnet address`);
  const reached = await reach(rig, address);
  await sent;

  const { gateway_token: token } = await shop.access(order.id);
  const chatMs = options.chat ? await firstReply(rig, address, token) : undefined;
  const paid = events.find(({ type }) => type === "checkout.session.completed");
  const delivery = cloud.stripe.deliveries().find(({ event }) => event === paid?.id);
  if (!delivery) throw new Error(`the payment of ${order.id} was not sent`);
  const history = store.orderEvents(order.id as OrderId, 0);
  const stateAt = (state: string) => history.find(({ data }) => data.state === state)?.at ?? Number.NaN;
  const steps = history.filter(({ type }) => type === "step");
  const machine = view.machine?.name as MachineName;
  const done = store
    .auditRows({ subject: machine })
    .findLast(({ action, detail }) => action === "machine.handed-over" && detail.order === order.id)?.detail;
  const attestedMs = Number(done?.machineMs);
  const [first] = steps;
  const documentAt = first ? first.at - Number(first.data.ms) : Number.NaN;
  const t0 = delivery.sentAt;
  return {
    machine,
    order: order.id,
    subscription: subscription.id,
    token,
    way: String(done?.way),
    totalMs: reached - t0,
    marks: {
      claimed: stateAt("provisioning") - t0,
      document: documentAt - t0,
      attested: documentAt + attestedMs - t0,
      running: stateAt("running") - t0,
      told: told - t0,
      reachable: reached - t0,
    },
    machineMs: {
      ...Object.fromEntries(steps.map(({ data }) => [String(data.step), Number(data.ms)])),
      attested: attestedMs,
    },
    ...(chatMs === undefined ? {} : { chatMs }),
    load,
  };
}

async function firstReply({ node }: Rig, address: string, token: string): Promise<number> {
  const started = now();
  const answer = await node.fetch(`http://${address}:${gatewayPort}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: "Hello." }] }),
  });
  if (answer.status !== 200) throw new Error(`the agent answered ${answer.status}: ${answer.body}`);
  return now() - started;
}

/**
 * The way of a script: `.env`, then a restart of the unit; the same program, told to go that way. Measured from the
 * sent document on, as the way to it is the same for all.
 */
export async function measureRestart(rig: Rig, name: MachineName): Promise<HandOver> {
  const { store, tailnet, config } = rig;
  const [load = 0] = loadavg();
  const machine = store.machine(name);
  if (!machine) throw new Error(`there is no machine ${name}`);
  const session = await arm(createSsh(), target(machine, { store, config: () => config }, "root"));
  const { key } = await tailnet.mintKey({
    tags: ["tag:claw-vm"],
    expirySeconds: 300,
    description: "restart",
  });
  const token = randomBytes(32).toString("base64url");
  const order = `bench-restart-${Date.now()}`;
  await until("armed", 10_000, () => session.gateway);
  const machineMs: Record<string, number> = {};
  const t0 = now();
  const { attestation, ms } = await session.run(
    {
      op: "hand-over",
      rehearsal: false,
      order,
      generation: 1,
      currentToken: store.machineSecrets(name).poolToken,
      gatewayToken: token,
      env: { CLAW_MODEL_API_KEY: "sk-of-the-customer" },
      tailnet: {
        key: key.expose(),
        hostname: name,
        ...(config.tailnet?.controlUrl ? { controlUrl: config.tailnet.controlUrl } : {}),
      },
      dropAdmin: true,
      way: "restart",
    },
    (step) => {
      machineMs[step.step] = step.ms;
    },
  );
  const attested = now();
  const reached = await reach(rig, attestation.tailnetAddress ?? "");
  return {
    machine: name,
    order,
    subscription: "",
    token,
    way: attestation.way,
    totalMs: reached - t0,
    marks: { document: 0, attested: attested - t0, reachable: reached - t0 },
    machineMs: { ...machineMs, attested: ms },
    load,
  };
}

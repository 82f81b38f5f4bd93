/** The times of docs/benchmarks/times.md, each measured on the rig at the daemon's own intervals. Milliseconds. */
import { strict as assert } from "node:assert";
import { ownLabels } from "../../../pool/machine/labels.ts";
import { pause, until } from "../handover/rig.ts";
import type { Rig } from "./rig.ts";

export interface Replaced {
  /** Until the new process answers over HTTP. */
  readonly answers: number;
  /** Until an order that was paid while nobody answered runs. */
  readonly serves: number;
}

/** The daemon's process gets the signal; a buyer pays at that moment. */
export async function replaced(rig: Rig, signal: "SIGKILL" | "SIGSTOP", number: number): Promise<Replaced> {
  const { host, cloud } = rig;
  await rig.ready(1);
  const order = await rig.order(`${signal}-${number}`);
  const before = await host.mainPid();
  assert(before > 0, "the unit has no process");
  const began = performance.now();
  const ms = () => performance.now() - began;
  await host.signal(signal);
  const { subscription } = cloud.stripe.console.buy(order.session);
  const [answers, serves] = await Promise.all([
    (async () => {
      // The dead one's listener is gone at once; the one that stands still takes connections and says nothing.
      await until("another daemon answers", 120_000, () => healthy(rig.url));
      const answered = ms();
      assert.notEqual(await host.mainPid(), before);
      return answered;
    })(),
    rig.runs(order.id).then(ms),
  ]);
  await cloud.stripe.console.cancel(subscription.id).sent;
  return { answers, serves };
}

async function healthy(url: string): Promise<boolean> {
  const signal = AbortSignal.timeout(1_000);
  return fetch(`${url}/healthz`, { signal }).then(
    ({ ok }) => ok,
    () => false,
  );
}

/** SIGKILL in the middle of a hand-over; from there until the order runs, on the same machine. */
export async function resumed(rig: Rig, number: number): Promise<number> {
  const { host, cloud, shop, store } = rig;
  await rig.ready(1);
  const order = await rig.order(`resumed-${number}`);
  // Until Stripe has answered the order cannot be served, however fast the machine is.
  const release = cloud.stripe.console.hold(`GET /v1/checkout/sessions/${order.session}`);
  let began: number;
  let machine: string | null | undefined;
  const { subscription } = cloud.stripe.console.buy(order.session);
  try {
    for await (const event of shop.events(order.id)) if (event.type === "step") break;
    machine = store.order(order.id)?.machine;
    began = performance.now();
    await host.signal("SIGKILL");
  } finally {
    release();
  }
  await rig.runs(order.id);
  const ms = performance.now() - began;
  assert.equal(store.order(order.id)?.machine, machine, "another machine was taken");
  await cloud.stripe.console.cancel(subscription.id).sent;
  return ms;
}

export interface Orphan {
  readonly found: number;
  /** From when it was made. */
  readonly deleted: number;
}

/** A server with our labels of which no row knows. */
export async function orphan({ cloud: { hetzner }, store }: Rig, number: number): Promise<Orphan> {
  const name = `claw-local-orphan${"abcdefgh"[number] ?? "z"}`;
  const headers = { authorization: `Bearer ${hetzner.token}`, "content-type": "application/json" };
  const made = await fetch(`${hetzner.endpoint}/servers`, {
    method: "POST",
    headers,
    body: JSON.stringify({
      ...{ name, server_type: "cx23", image: "debian-12", location: "fsn1", start_after_create: false },
      labels: { ...ownLabels("local"), "clawpool-machine": name },
    }),
  });
  assert.equal(made.status, 201);
  const { server } = (await made.json()) as { server: { id: number } };
  const began = performance.now();
  const ms = () => performance.now() - began;
  await until(`${name} is found`, 600_000, () =>
    store.flags().some(({ kind, text }) => kind === "orphan" && text.includes(`server ${server.id} `)),
  );
  const found = ms();
  await until(
    `${name} is deleted`,
    25 * 60_000,
    async () => (await fetch(`${hetzner.endpoint}/servers/${server.id}`, { headers })).status === 404,
  );
  return { found, deleted: ms() };
}

/** A payment whose webhook is never sent; until its order runs. */
export async function lostWebhook(rig: Rig, number: number): Promise<number> {
  const { stripe } = rig.cloud;
  const order = await rig.order(`lost-${number}`);
  stripe.faults.add({
    on: "delivery",
    type: "checkout.session.completed",
    object: order.session,
    effect: { kind: "lose" },
  });
  const began = performance.now();
  await stripe.console.buy(order.session).sent;
  await pause(5_000);
  assert.equal(rig.store.order(order.id)?.state, "awaiting-payment", "its webhook was not lost");
  await rig.runs(order.id);
  return performance.now() - began;
}

/** Rows for tests: the smallest valid machine, order and event. */
import { type MachineName, machineName, type OrderId } from "../../pool/machine/machine.ts";
import type { InboxEvent, NewMachine, NewOrder, Store } from "../../pool/store/store.ts";

export const caps = { maxTotal: 100, maxTotalAll: 100 };

/** Of a machine that an order was on. */
export const failure = { step: "handing-over", reason: "sshd hung up" };

/** Of orders whose customers want eu-central. */
export const limits = { limit: 5, locationsOf: () => ["fsn1", "nbg1"] };

export const newMachine = (name: string, change: Partial<NewMachine> = {}): NewMachine => ({
  name: machineName(name),
  pool: "small",
  plan: "small",
  serverType: "cx23",
  location: "fsn1",
  image: "debian-12",
  placementGroup: 0,
  deadline: 1_000,
  hostKey: "ssh-ed25519 AAAA",
  secrets: { controllerKey: "controller-key", bootHostKey: "boot-host-key", poolToken: "pool-token" },
  ...change,
});

export const newOrder = (id: string, change: Partial<NewOrder> = {}): NewOrder => ({
  id: id as OrderId,
  customer: `customer-of-${id}`,
  plan: "small",
  region: "eu-central",
  agentName: "claw",
  secrets: { env: { CLAW_MODEL_API_KEY: "sk-customer" }, gatewayToken: "token-of-the-customer" },
  ...change,
});

export const event = (id: string): InboxEvent => ({
  id,
  type: "checkout.session.completed",
  object: "cs_1",
  createdAt: 1,
  body: "{}",
});

/** Takes a machine through every stage until it is ready. */
export function makeReady(
  store: Store,
  name: string,
  change: Partial<NewMachine> = {},
  limits = caps,
): MachineName {
  const { name: made } = store.planMachine(newMachine(name, change), limits) ?? newMachine(name);
  return endBuild(store, made);
}

/** A planned machine gets ready. */
export function endBuild(store: Store, name: MachineName): MachineName {
  store.changeMachine(name, "planned", { state: "creating" }, "test");
  store.changeMachine(name, "creating", { state: "booting", ipv4: "192.0.2.1" }, "test");
  store.changeMachine(name, "booting", { state: "preparing" }, "test");
  store.changeMachine(name, "preparing", { state: "proving" }, "test");
  store.changeMachine(name, "proving", { state: "ready" }, "test");
  return name;
}

/** Pays for an order that exists. */
export function pay(store: Store, order: string, eventId = `evt_${order}`) {
  const payment = {
    order: order as OrderId,
    checkoutSession: `cs_${order}`,
    subscription: `sub_${order}`,
    stripeCustomer: "cus_1",
  };
  return store.acceptPayment(event(eventId), payment, ["fsn1", "nbg1"]);
}

/** The machine m-1 with the paid order o-1 that it serves. */
export function serve(store: Store): MachineName {
  const machine = makeReady(store, "m-1");
  store.createOrder(newOrder("o-1"));
  pay(store, "o-1");
  store.changeMachine(machine, "claimed", { state: "handing-over" }, "test");
  store.recordServing(machine, { tailnetNode: "n1", tailnetAddress: "100.64.0.1" });
  return machine;
}

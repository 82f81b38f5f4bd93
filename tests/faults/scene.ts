/**
 * A scene under simulation: what happens is told by a script instead of drawn from a seed, the rest of the world works,
 * and at its end all invariants are checked (tests/sim, tests/invariants.ts). For faults that real parts cannot have in
 * the time of a test: days, jumps of the clock, a full disk, a SIGKILL at a certain instruction.
 */
import { strict as assert } from "node:assert";
import type { Controller } from "../../pool/controller.ts";
import type { Machine, MachineState } from "../../pool/machine/machine.ts";
import type { Order } from "../../pool/order/order.ts";
import type { WebhookOutcome } from "../../pool/order/payments.ts";
import type { Store } from "../../pool/store/store.ts";
import type { StripeEvent } from "../../pool/stripe/stripe.ts";
import { shownSession } from "../sim/borders/stripe.ts";
import { type Outcome, simulate } from "../sim/simulation.ts";
import type { Plot, Story } from "../sim/story.ts";
import type { SimServer, SimSession, World } from "../sim/world.ts";

export const second = 1_000;
export const minute = 60 * second;
export const hour = 60 * minute;

export interface Scene {
  readonly story: Story;
  readonly world: World;
  readonly store: Store;
  /** Virtual time passes, in ms. */
  wait(ms: number): Promise<void>;
  /** Resolves when it holds; looked at each virtual second. @throws AssertionError after `within` ms (2 h) */
  until(what: string, holds: () => boolean, within?: number): Promise<void>;
  /** The controller, as soon as one serves. */
  controller(): Promise<Controller>;
  /** SIGKILL; systemd starts another one. */
  kill(): void;
  ready(count: number): Promise<void>;
  order(name: string): Promise<Order>;
  sessionOf(order: Order): SimSession;
  /** The buyer pays; nobody is told. */
  pays(order: Order): void;
  cancels(order: Order): void;
  /** One delivery of an event; null when nobody answered or the answer was not 2xx. */
  tell(order: Order, type: string, event?: string): Promise<WebhookOutcome | null>;
  /** Ordered, paid, told; resolves when it runs. */
  serve(name: string): Promise<Order>;
  reached(order: Order, state: Order["state"]): Promise<void>;
  machineOf(order: Order): Machine;
  serverOf(order: Order): SimServer;
  machines(...states: MachineState[]): Machine[];
  /** Changes what the operator's file says, and tells the daemon. */
  configure(change: { minReady?: number; maxTotal?: number }): void;
  flags(kind: string): string[];
}

/** Plays the script to its end and lets everything come to rest. @throws what the script threw, or AssertionError naming
 *  each invariant that does not hold */
export async function play(
  script: (scene: Scene) => Promise<void>,
  change: Partial<Pick<Plot, "kills" | "lasts" | "notify">> & { readonly seed?: number } = {},
): Promise<Outcome> {
  let failure: { readonly error: unknown } | null = null;
  const { seed = 1, lasts = 0, kills = [], notify = false } = change;
  const outcome = await simulate(seed, {
    buyers: 0,
    lasts,
    kills,
    notify,
    spell: null,
    script: (story) =>
      script(setScene(story)).catch((error: unknown) => {
        failure ??= { error };
      }),
  });
  const { error } = (failure as { readonly error: unknown } | null) ?? {};
  if (error !== undefined) {
    if (error instanceof Error) error.message += `\n${outcome.trace.slice(-40).join("\n")}`;
    throw error;
  }
  assert.deepEqual(outcome.violations, [], outcome.trace.slice(-60).join("\n"));
  return outcome;
}

function setScene(story: Story): Scene {
  const { world } = story;
  const { clock } = world;
  const { store } = story;
  let events = 0;

  const scene: Scene = {
    story,
    world,
    store,
    wait: (ms) => clock.delay(ms),
    async until(what, holds, within = 2 * hour) {
      const end = clock.now() + within;
      while (!holds()) {
        assert(clock.now() < end, `not within ${within / minute} minutes: ${what}`);
        await clock.delay(second);
      }
    },
    async controller() {
      const serves = () => story.daemon.serving !== null && !story.daemon.life.dead;
      await scene.until("a daemon serves", serves);
      return story.daemon.serving ?? assert.fail();
    },
    kill() {
      story.daemon.life.kill();
    },
    ready: (count) => scene.until(`${count} are ready`, () => scene.machines("ready").length >= count),
    async order(name) {
      const body = {
        customer: name,
        plan: "small",
        region: "eu-central",
        agent_name: "claw",
        env: { CLAW_MODEL_API_KEY: "sk-1" },
      };
      // The web app repeats a request that nobody answered, with the same key.
      for (;;) {
        const { desk } = await scene.controller();
        const asked = desk.create(body, { idempotencyKey: name }).catch(() => null);
        const order = await Promise.race([asked, story.daemon.life.died.then(() => null)]);
        if (order) return order;
        await clock.delay(5 * second);
      }
    },
    sessionOf: (order) =>
      [...world.sessions.values()].find((session) => session.order === order.id) ?? assert.fail(),
    pays(order) {
      const session = scene.sessionOf(order);
      const id = `sub_${world.id()}`;
      Object.assign(session, { status: "complete", paymentStatus: "paid", subscription: id });
      const { metadata } = session;
      world.subscriptions.set(id, {
        id,
        session: session.id,
        metadata,
        status: "active",
        dispute: null,
        refunded: false,
      });
    },
    cancels(order) {
      const subscription = world.subscriptions.get(scene.sessionOf(order).subscription ?? "");
      Object.assign(subscription ?? assert.fail(), { status: "canceled" });
    },
    async tell(order, type, id = `evt_scene_${++events}`) {
      const session = scene.sessionOf(order);
      const ofSession = type.startsWith("checkout.");
      const event: StripeEvent = {
        id,
        type,
        object: ofSession ? session.id : session.subscription,
        status: null,
        livemode: false,
        createdAt: clock.now(),
        session: ofSession ? { ...shownSession(session), prices: [] } : null,
        body: "{}",
        secretIndex: 0,
      };
      const { serving, life } = story.daemon;
      if (!serving || life.dead) return null;
      const answered = serving.desk.webhook(Buffer.from(JSON.stringify(event)), "signed").catch(() => null);
      const outcome = await Promise.race([answered, life.died.then(() => null)]);
      if (outcome && ofSession && session.paymentStatus === "paid") story.acknowledged.add(session.id);
      return outcome;
    },
    async serve(name) {
      const order = await scene.order(name);
      scene.pays(order);
      assert(await scene.tell(order, "checkout.session.completed"));
      await scene.reached(order, "running");
      return order;
    },
    reached: (order, state) =>
      scene.until(`${order.id} is ${state}`, () => store.order(order.id)?.state === state),
    machineOf: (order) => store.machine(store.order(order.id)?.machine ?? assert.fail()) ?? assert.fail(),
    serverOf: (order) => world.servers.get(scene.machineOf(order).serverId ?? 0) ?? assert.fail(),
    machines: (...states) => store.machines({ states }),
    configure({ minReady, maxTotal }) {
      const { config } = story.installation;
      const pools = config.pools.map((pool) => ({
        ...pool,
        minReady: minReady ?? pool.minReady,
        maxTotal: maxTotal ?? pool.maxTotal,
      }));
      story.installation.config = { ...config, maxTotal: maxTotal ?? config.maxTotal, pools };
      if (maxTotal !== undefined) world.maxTotal = Math.max(world.maxTotal, maxTotal);
      if (!story.daemon.life.dead) story.daemon.serving?.poke();
    },
    flags: (kind) => store.flags().flatMap((flag) => (flag.kind === kind ? [flag.text] : [])),
  };
  return scene;
}

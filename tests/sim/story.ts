/** The people around the daemon: buyers, Stripe's webhooks, the operator, and whoever pulls the plug. */
import type { Controller } from "../../pool/controller.ts";
import type { StripeEvent } from "../../pool/stripe/stripe.ts";
import { shownSession } from "./borders/stripe.ts";
import { type Installation, type SimDaemon, startDaemon } from "./daemon.ts";
import type { SimStore } from "./database.ts";
import { changeRecipe, crashOne, rotOne, watchResumed, watchRollout } from "./idle.ts";
import { leaveBehind, settleNeighbours } from "./leftovers.ts";
import { type Refusal, refuse, watchOrders } from "./refusals.ts";
import { type Rescue, rescue, watchPower } from "./rescue.ts";
import { shutDown } from "./shutdown.ts";
import { resize, watchTargets } from "./sizings.ts";
import { breakBuilds, type Spell, watchRefill } from "./spell.ts";
import { type StateMishap, spoilPlatform, spoilState, watchStates } from "./states.ts";
import { configureTelling } from "./telling.ts";
import { troubleWith } from "./trouble.ts";
import type { SimRecipe, SimSession, SimSubscription, World } from "./world.ts";

const second = 1_000;
const minute = 60 * second;

/** `RestartSec` behind a death, `WatchdogSec` before one that hung (deploy/clawpool.service). */
export const systemdPausesMs = { restart: 2 * second, watchdog: 20 * second };

export interface Plot {
  readonly buyers: number;
  /** In which the buyers come and the faults strike, in ms. */
  readonly lasts: number;
  /** At which point each life of the daemon dies; behind the last they live on. */
  readonly kills: readonly number[];
  /** Share of Stripe's events that nobody ever gets; 0.12 unless told otherwise. */
  readonly lost?: number;
  /** Each step of a customer's trouble comes within so many ms, each time as likely; unless told otherwise rather soon. */
  readonly troubleWithin?: number;
  readonly spell: Spell | null;
  /** The store is lost or an older one comes back; not, unless told otherwise. */
  readonly rescue?: Rescue | null;
  /** What happens, told instead of drawn: nothing else is done by anybody, and nothing fails by chance. */
  readonly script?: (story: Story) => Promise<void>;
  /** Things with our labels that turn up without a row; 0 unless told otherwise. */
  readonly strays?: number;
  /** Between two looks at the cloud, in ms. */
  readonly sweepEveryMs?: number;
  /** A time in which somebody refuses our account. */
  readonly refusal?: Refusal | null;
  /** How many ready machines go bad, and gateways of machines that serve crash. */
  readonly rots?: number;
  /** Operators and the web app are told; nobody is, unless told otherwise. */
  readonly notify?: boolean;
  /** The first daemon hangs, another takes over, the first wakes. */
  readonly hangs?: boolean;
  /** What happens to terraform's state files; nothing unless told otherwise. */
  readonly states?: readonly StateMishap[];
  /** It is told to stop, and started again. */
  readonly stops?: boolean;
  /** What becomes of the platform's state file. */
  readonly platform?: StateMishap | null;
  /** The pool is sized by more than `min_ready`, and otherwise on the way; not unless told. */
  readonly sized?: boolean;
  /** What is wrong with the recipe that comes in the middle; undefined leaves it as it is. */
  readonly recipe?: SimRecipe["fault"] | undefined;
}

export class Story {
  readonly world: World;
  readonly installation: Installation;
  /** Sessions whose payment was announced by a webhook that the daemon answered with 200. */
  readonly acknowledged = new Set<string>();
  buyers = 0;
  daemon: SimDaemon;
  #kills: number[];
  readonly #lost: number;
  readonly #troubleWithin: number | undefined;
  /** The store is lost, or an older one comes back. */
  readonly #isRescued: boolean;
  #open = 0;

  constructor(world: World, installation: Installation, plot: Plot) {
    this.world = world;
    this.installation = installation;
    this.#kills = [...plot.kills];
    this.#lost = plot.lost ?? 0.12;
    this.#troubleWithin = plot.troubleWithin;
    this.#isRescued = Boolean(plot.rescue);
    const { config } = installation;
    const { sweepEveryMs: everyMs = config.sweeps.everyMs } = plot;
    installation.config = { ...config, sweeps: { ...config.sweeps, everyMs } };
    if (plot.notify) configureTelling(installation);
    settleNeighbours(world);
    world.leased = plot.hangs === true;
    this.daemon = this.#start();
    // Before the daemon's first look: there is no moment in which it is sized otherwise.
    if (plot.sized) this.#act(resize(this, plot.lasts));
    if (plot.hangs) this.#act(this.#hang(plot.lasts));
    if (plot.stops) this.#act(shutDown(this, plot.lasts));
    for (let i = 0; i < plot.buyers; i++) this.another(plot.lasts);
    if (plot.script) this.#act(plot.script(this));
    else if (world.chance.happens(0.5)) this.#act(this.#operator(plot.lasts));
    if (plot.rescue) this.#act(rescue(this, plot.rescue));
    if (plot.spell) this.#act(breakBuilds(world, plot.spell));
    if (plot.strays) this.#act(leaveBehind(world, plot.strays, plot.lasts));
    const rots = plot.script ? 0 : (plot.rots ?? 0);
    for (let i = 0; i < rots; i++) {
      this.#act(rotOne(this, plot.lasts));
      this.#act(crashOne(this, plot.lasts));
    }
    if (plot.recipe !== undefined && !plot.script) this.#act(changeRecipe(this, plot.recipe, plot.lasts));
    if (plot.refusal && !plot.script) this.#act(refuse(world, plot.refusal));
    if (!plot.script) void watchOrders(this);
    void watchRefill(this);
    void watchRollout(this);
    void watchResumed(this);
    if (plot.rescue) void watchPower(this);
    if (plot.sized) void watchTargets(this);
    for (const mishap of plot.states ?? []) this.#act(spoilState(world, mishap, plot.lasts));
    if (plot.platform) this.#act(spoilPlatform(this, plot.platform, plot.lasts));
    if (plot.states?.length || plot.platform) void watchStates(this);
  }

  /** Another buyer comes, some time within `lasts` ms. */
  another(lasts: number): void {
    this.#act(this.#buyer(this.buyers++, lasts));
  }

  /** In ms, before the next step of a customer's trouble. */
  untilTrouble(): number {
    const { chance } = this.world;
    if (this.#troubleWithin === undefined) return chance.soon(second, 15 * minute);
    return chance.between(0, this.#troubleWithin);
  }

  /** Nobody of the story is under way any more. */
  get over(): boolean {
    return this.#open === 0;
  }

  get store(): SimStore {
    return this.installation.store;
  }

  /** What somebody asks of the daemon by hand; null when it does not answer, or refuses. */
  ask<T>(work: (controller: Controller) => Promise<T>): Promise<{ answer: T } | null> {
    return this.#request(work);
  }

  /** Null when the daemon does not answer. */
  async resumeRollout(): Promise<unknown> {
    return this.#request(async ({ rollout }) => rollout("resume", null, "person:operator"));
  }

  /** Null when the daemon does not answer, or cannot. */
  async repairState(name: string, how: "restore" | "import"): Promise<unknown> {
    return this.#request(({ states }) => states.repair(name, how, { actor: "person:operator" }));
  }

  /** Null when the daemon does not answer. */
  async resume(): Promise<unknown> {
    return this.#request(async ({ resume }) => resume(null, "person:operator"));
  }

  #act(part: Promise<void>): void {
    this.#open += 1;
    void part.finally(() => {
      this.#open -= 1;
    });
  }

  async #hang(lasts: number): Promise<void> {
    const { chance, clock } = this.world;
    await clock.delay(chance.between(0, lasts));
    const { life } = this.daemon;
    life.hang();
    this.world.note("the daemon hangs");
    this.daemon = this.#start();
    await clock.delay(chance.between(40, 300) * second);
    life.wake();
    this.world.note("it wakes");
  }

  #start(): SimDaemon {
    const daemon = startDaemon(this.world, this.installation, this.#kills.shift() ?? null);
    void daemon.life.died.then(async () => {
      // It was replaced before.
      if (this.daemon !== daemon) return;
      const { restart, watchdog } = systemdPausesMs;
      await this.world.clock.delay(this.world.chance.between(restart, restart + watchdog));
      this.daemon = this.#start();
    });
    return daemon;
  }

  /** A request to the daemon's API: lost when it is down, or dies before it answers. */
  async #request<T>(work: (controller: Controller) => Promise<T>): Promise<{ answer: T } | null> {
    const { serving, life } = this.daemon;
    if (!serving || life.dead || life.hung) return null;
    this.world.events += 1;
    const answered = work(serving).then(
      (answer) => ({ answer }),
      () => null,
    );
    return Promise.race([answered, life.died.then(() => null)]);
  }

  async #buyer(number: number, lasts: number): Promise<void> {
    const { world } = this;
    const { chance, clock } = world;
    await clock.delay(chance.between(0, lasts));
    const body = {
      // Every second buys twice.
      customer: `customer-${Math.floor(number / 2)}`,
      plan: "small",
      region: "eu-central",
      agent_name: "claw",
      env: { CLAW_MODEL_API_KEY: `sk-of-customer-${number}` },
    };
    let made: { answer: { id: string } } | null = null;
    // The web app repeats a request that nobody answered, with the same key.
    for (let tries = 0; made === null && tries < 40; tries++) {
      made = await this.#request(({ desk }) => desk.create(body, { idempotencyKey: `buyer-${number}` }));
      if (made === null) await clock.delay(chance.between(5, 30) * second);
    }
    if (made === null) return;
    const session = [...world.sessions.values()].find(({ order }) => order === made.answer.id);
    if (!session) return world.violate("I4", `order ${made.answer.id} was answered and has no session`);
    await clock.delay(chance.between(5, 120) * second);
    if (chance.happens(0.1)) {
      session.status = "expired";
      world.note(`session ${session.id} of ${session.order} expires`);
      return this.announce(session, "checkout.session.expired");
    }
    await this.#pay(session);
    if (session.paymentStatus === "paid" && chance.happens(0.4)) await troubleWith(this, session);
    if (!chance.happens(0.4)) return;
    await clock.delay(chance.soon(second, 20 * minute));
    if (session.paymentStatus === "paid") await this.#cancel(session);
  }

  async #pay(session: SimSession): Promise<void> {
    const { world } = this;
    const { chance, clock } = world;
    const subscription = `sub_${world.id()}`;
    session.status = "complete";
    session.subscription = subscription;
    const bought = {
      id: subscription,
      session: session.id,
      metadata: session.metadata,
      status: "active",
      dispute: null,
      refunded: false,
    } as const;
    world.subscriptions.set(subscription, { ...bought });
    if (chance.happens(0.15)) {
      this.#act(this.announce(session, "checkout.session.completed"));
      await clock.delay(chance.soon(10 * second, 20 * minute));
      if (chance.happens(0.25)) {
        const failed = world.subscriptions.get(subscription);
        if (failed) failed.status = "past_due";
        world.note(`session ${session.id} does not clear for ${session.order}`);
        await this.announce(session, "checkout.session.async_payment_failed");
        // By the seed's number, not by chance: all other seeds stay the stories that they were.
        if (failed && world.seed % 2 === 0 && !this.#isRescued) await this.#collect(session, failed);
        return;
      }
      session.paymentStatus = "paid";
      world.note(`session ${session.id} clears for ${session.order}`);
      return this.announce(session, "checkout.session.async_payment_succeeded");
    }
    session.paymentStatus = "paid";
    world.note(`session ${session.id} pays ${session.order}`);
    return this.announce(session, "checkout.session.completed");
  }

  /** The invoice that was left open is paid after all. */
  async #collect(session: SimSession, subscription: SimSubscription): Promise<void> {
    const { world } = this;
    await world.clock.delay(world.chance.soon(minute, 30 * minute));
    session.collected = true;
    subscription.status = "active";
    world.note(`subscription ${subscription.id} of ${session.order} is collected late`);
    await this.announce(session, "customer.subscription.updated");
  }

  async #cancel(session: SimSession): Promise<void> {
    const subscription = this.world.subscriptions.get(session.subscription ?? "");
    if (!subscription) return;
    subscription.status = "canceled";
    subscription.endedAt = this.world.clock.now();
    this.world.note(`subscription ${subscription.id} of ${session.order} is cancelled`);
    await this.announce(session, "customer.subscription.deleted");
  }

  /** Stripe repeats until 200, sometimes in spite of it, and not always at once; some events it never makes. */
  async announce(session: SimSession, type: string): Promise<void> {
    const { world } = this;
    const { chance, clock } = world;
    const about = { "charge.dispute": "du_", "charge.refunded": "ch_", refund: "re_" };
    const [, prefix = ""] = Object.entries(about).find(([start]) => type.startsWith(start)) ?? [];
    if (chance.happens(this.#lost)) return world.note(`${type} of ${session.order} is never told`);
    const ofSession = type.startsWith("checkout.");
    const event: StripeEvent = {
      id: `evt_${world.id()}`,
      type,
      object: ofSession ? session.id : `${prefix}${session.subscription}`,
      status: null,
      livemode: false,
      createdAt: clock.now(),
      session: ofSession && !chance.happens(0.3) ? { ...shownSession(session), prices: [] } : null,
      body: "{}",
      secretIndex: 0,
    };
    const raw = Buffer.from(JSON.stringify(event));
    const pays = session.paymentStatus === "paid" && ofSession;
    if (chance.happens(0.1)) await clock.delay(chance.soon(second, 10 * minute));
    let wanted = chance.happens(0.15) ? 2 : 1;
    for (let pause = 5 * second; wanted > 0; pause = Math.min(pause * 2, 10 * minute)) {
      const taken = await this.#request(({ desk }) => desk.webhook(raw, "signed"));
      if (taken) {
        wanted -= 1;
        if (pays) {
          this.acknowledged.add(session.id);
          this.installation.watch.acknowledged(session);
        }
        world.note(`${type} of ${session.order}: ${taken.answer.kind}`);
      }
      if (wanted > 0) await clock.delay(chance.between(0.5, 1) * pause);
    }
  }

  /** Changes how many are kept warm. */
  async #operator(lasts: number): Promise<void> {
    const { chance, clock } = this.world;
    for (let changes = chance.integer(1, 3); changes > 0; changes--) {
      await clock.delay(chance.between(0, lasts / 2));
      const minReady = chance.integer(0, 4);
      const { config } = this.installation;
      this.installation.config = { ...config, pools: config.pools.map((pool) => ({ ...pool, minReady })) };
      this.world.note(`min_ready is ${minReady}`);
      if (!this.daemon.life.dead) this.daemon.serving?.poke();
    }
  }
}

/**
 * What the daemon does, without what it runs on: orders poke the loop, the loop looks at machines, each look is one
 * stage. It opens no file, socket or timer of its own; store, borders, clock and chance are given, so the same code
 * runs in production and, seed by seed, in the simulation (tests/sim).
 */
import type { Logger } from "pino";
import { createPriceReading } from "./bill/price-reading.ts";
import type { Borders } from "./borders.ts";
import type { Clock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import { createLoop, type LoopProgress } from "./loop.ts";
import { createArmedMachines } from "./machine/armed.ts";
import { createAsker } from "./machine/ask.ts";
import { renewHandOvers } from "./machine/hand-over.ts";
import { createHeartbeats } from "./machine/heartbeat.ts";
import { reconcile } from "./machine/lifecycle.ts";
import { machineName } from "./machine/machine.ts";
import type { StageContext } from "./machine/stage.ts";
import { createSender, type Sender } from "./notify/sender.ts";
import { type DiskUse, watchDisk } from "./observe/disk.ts";
import { createOrderDesk, type OrderDesk } from "./order/desk.ts";
import { createDestroyByName, type DestroyByName } from "./people/confirmed-destroy.ts";
import { createPeople, type People } from "./people/people.ts";
import { createStateRepair, type StateRepair } from "./people/state-repair.ts";
import { createPlatform } from "./platform/platform.ts";
import type { Random } from "./random.ts";
import { type RecoveryStatus, readFindings, recoveryStatus } from "./recovery/findings.ts";
import { inspect } from "./recovery/inspect.ts";
import type { Records } from "./recovery/records.ts";
import { type Released, ReleaseError, type ReleaseRequest, release } from "./recovery/release.ts";
import { raiseAlerts } from "./refill/alerts.ts";
import { recipeSetting } from "./refill/content.ts";
import { probeTailnet } from "./refill/freeze.ts";
import { serveQueue } from "./refill/queue.ts";
import { callOff, refill, trim } from "./refill/refill.ts";
import { advanceRollouts, pauseRollout, type RolloutChange, resumeRollout } from "./refill/rollout.ts";
import { type Resumed, resume, resumeChanged } from "./refill/stop.ts";
import type { Sealer } from "./secrets/seal.ts";
import { type ChoiceRequest, choiceOf, createChooser } from "./sizing/background/choose-by-replay.ts";
import { leadTimeMs } from "./sizing/lead-time.ts";
import type { Choice } from "./sizing/replay/choice.ts";
import { createSizer, type Sizer } from "./sizing/sizer.ts";
import type { Store } from "./store/store.ts";
import { createStripeSweep, type StripeSweep } from "./sweep/stripe.ts";
import { createSweeps, type Sweeps } from "./sweep/sweeps.ts";
import { platformName } from "./terraform/folders.ts";

export interface ControllerOptions {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly borders: Borders;
  /** Asked for anew each time, so that a reloaded configuration counts at once. */
  readonly config: () => Config;
  /** The `root` of terraform's folders. */
  readonly terraformRoot: string;
  /** What of the rows is kept outside of the store. */
  readonly records: Pick<Records, "machines" | "orders" | "retry">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Told of each repair of what a lost webhook left undone. */
  readonly onStripeRepair?: (kind: string) => void;
  /** Told of each restart of a customer's gateway, and whether it did well. */
  readonly onRepair?: (ok: boolean) => void;
  /** Replays own history for a share that is asked; null when it was stopped. At once when absent, which takes seconds. */
  readonly choose?: (request: ChoiceRequest) => Promise<Choice | null>;
  /** How full the disk of the state folder is now. */
  readonly disk: () => DiskUse;
  /** Longest time without a look at the rows, in milliseconds. */
  readonly heartbeatMs?: number;
}

export interface Progress extends LoopProgress {
  /** When the minute's work that still runs began (epoch ms); null while none runs. */
  readonly minuteSince: number | null;
}

export interface Controller {
  readonly desk: OrderDesk;
  readonly people: People;
  readonly stripeSweep: Pick<StripeSweep, "reconcile">;
  /** What people do about a refused terraform state. */
  readonly states: StateRepair;
  readonly destroyByName: DestroyByName;
  readonly sweeps: Pick<Sweeps, "reconcile" | "ages">;
  /** What each pool wants, and why. */
  readonly sizer: Sizer;
  /** Who tells operators and the web app. */
  readonly notify: Pick<Sender, "poke" | "test" | "retry" | "drop">;
  /**
   * Lets terraform runs that an earlier daemon left behind end, each before its machine is looked at, and sees to what
   * all machines share. Before `start`.
   * @throws BorderError when the platform stack cannot be applied
   */
  prepare(): Promise<void>;
  start(): void;
  /** A look at everything now, e.g. because the configuration changed. */
  poke(): void;
  /**
   * Refill of the pool (null: of all that are stopped) goes on, and its specimen goes.
   * @throws UnknownPoolError
   */
  resume(pool: string | null, actor: string): Resumed[];
  /** What came back from a backup, or was rebuilt, waits here for a person. */
  readonly recovery: {
    status(): RecoveryStatus;
    /** Looks at everything again. @throws BorderError when the cloud or Stripe cannot be asked */
    look(actor: string): Promise<RecoveryStatus>;
    /** @throws ReleaseError */
    release(request: ReleaseRequest): Released;
  };
  /**
   * Roll-outs of the pool (null: of all pools) are held, or go on. @throws UnknownPoolError
   */
  rollout(action: "pause" | "resume", pool: string | null, actor: string): RolloutChange[];
  /** What is to be done once a minute. Never throws: what failed is logged, and done the next time. */
  everyMinute(): Promise<void>;
  /** What the watchdog is fed by. */
  progress(): Progress;
  /** No new looks; what can be begun again is ended, terraform and hand-overs finish. */
  stop(): Promise<void>;
  /** Closes the armed connections. */
  close(): void;
}

export function createController(options: ControllerOptions): Controller {
  const { store, sealer, borders, config, clock, random, log } = options;
  const { gate, terraform, keys } = borders;
  const sizer = createSizer({ store, config, clock });
  const platform = createPlatform({
    store,
    sealer,
    terraform,
    gate,
    cloud: borders.cloud,
    config,
    clock,
    random,
    log,
  });
  const armed = createArmedMachines(borders.ssh, (name) => loop.poke(name), clock);
  const desk = createOrderDesk({
    store,
    stripe: borders.stripe,
    clock,
    random,
    config,
    log,
    onClaimed: (machine) => loop.poke(machine),
    onQueued: () => loop.poke(),
    onEnded: (order) => loop.poke(store.order(order)?.machine ?? undefined),
    onReviewed: (order) => loop.poke(store.order(order)?.machine ?? undefined),
    buildTimeMs: (plan) => leadTimeMs(store, plan),
  });
  const context: StageContext = {
    ...borders,
    store,
    clock,
    random,
    config,
    platform: platform.ids,
    platformWaits: platform.waits,
    armed,
    confirmation: desk.confirmation,
    hasEnded: desk.hasEnded,
    cancelSuspended: desk.cancelSuspended,
    calledOff: (machine) => callOff(store, config(), machine, sizer.target, clock.now()),
    poke: (machine) => loop.poke(machine),
    log,
  };
  const loop = createLoop({
    clock,
    log,
    live: () => store.machines({ live: true }).filter(({ held }) => held === null),
    reconcile: (name, signal) => reconcile(name, context, signal),
    maxParallelBuilds: () => config().maxParallelBuilds,
    heartbeatMs: options.heartbeatMs,
    afterRound() {
      if (store.quarantine()) return;
      const claimed = serveQueue(store, config());
      advanceRollouts({ store, config, clock, log });
      const retired = trim(store, config(), clock.now(), sizer.target);
      for (const name of resumeChanged({ store, config, clock, log })) loop.poke(name);
      const planned = refill(store, config(), clock, random, sizer.target);
      for (const machine of [...claimed, ...retired, ...planned]) loop.poke(machine.name);
    },
  });
  const asker = createAsker(borders.ssh);
  const heartbeats = createHeartbeats({ context, asker, onRepair: (ok) => options.onRepair?.(ok) });
  const people = createPeople({ context, gate, loop, platform, terraformRoot: options.terraformRoot });
  const states = createStateRepair({ context, loop, platform });
  const stripeSweep = createStripeSweep({
    store,
    stripe: borders.stripe,
    desk,
    clock,
    instance: () => config().instance,
    log,
    onRepair: (kind) => options.onStripeRepair?.(kind),
  });
  const sweeps = createSweeps({
    store,
    borders,
    platform: platform.ids,
    stripeSweep,
    clock,
    config,
    log,
    poke: loop.poke,
  });

  const chooseIfDue = createChooser({
    ...{ store, config, clock, log },
    choose: options.choose ?? (async (request) => choiceOf(request)),
    onChoice: () => loop.poke(),
  });

  const readPrices = createPriceReading({ store, cloud: borders.cloud, clock, log });

  const sender = createSender({ store, courier: borders.courier, clock, random, config, log });

  const inspection = { ...context, stripe: borders.stripe, records: options.records };
  /** One look at a time: two would write each other's rows. */
  let looking: Promise<void> = Promise.resolve();
  function look(actor: string): Promise<void> {
    looking = looking.catch(() => {}).then(() => inspect(inspection, actor));
    return looking;
  }
  async function lookIfHeld(): Promise<void> {
    if (store.quarantine() && !readFindings(store)) await look("daemon");
  }

  async function noteRecipe(): Promise<void> {
    const recipe = await borders.ansible.recipe();
    if (recipe === store.setting(recipeSetting)) return;
    store.putSetting(recipeSetting, recipe);
    loop.poke();
  }

  /** One failure keeps neither the others from being done nor the daemon from running. */
  async function attempt(what: string, work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (err) {
      log.error({ err }, `could not ${what}`);
    }
  }
  /** Then no chore is begun: the minute may come round while terraform finishes. */
  let stopping = false;
  /** What of the minutes' work is under way. */
  const chores = new Map<string, { readonly since: number; readonly done: Promise<void> }>();

  /** One that still waits for somebody holds up no other, and is not begun twice: that would only double what it asks. */
  function chore(what: string, work: () => unknown): Promise<void> {
    const running = chores.get(what);
    if (running) return running.done;
    if (stopping) return Promise.resolve();
    const done = attempt(what, work).finally(() => chores.delete(what));
    chores.set(what, { since: clock.now(), done });
    return done;
  }
  const replenish = () => chore("mint Tailscale keys", () => keys?.replenish());
  const applyPlatform = () => chore("apply the platform stack", platform.ensure);
  const readRecipe = () => chore("read the playbook's files", noteRecipe);

  return {
    desk,
    people,
    stripeSweep,
    states,
    destroyByName: createDestroyByName({ store, loop }),
    sweeps,
    sizer,
    notify: sender,
    resume(pool, actor) {
      const resumed = resume({ store, config }, pool, actor);
      for (const name of resumed.flatMap(({ specimens }) => specimens)) loop.poke(name);
      loop.poke();
      return resumed;
    },
    rollout(action, pool, actor) {
      const act = action === "pause" ? pauseRollout : resumeRollout;
      const changes = act({ store, config, clock }, pool, actor);
      loop.poke();
      return changes;
    },
    async prepare() {
      for (const { name, ended } of await terraform.leftovers()) {
        log.warn({ machine: name }, "a terraform run of an earlier daemon still runs; waiting for it");
        // A machine's concerns only that machine: it is looked at when the run has written what it did.
        const release = name === platformName ? null : loop.hold(machineName(name));
        if (release) void ended.finally(release);
        else await ended;
      }
      await attempt("look at what is in quarantine", lookIfHeld);
      // A first start says at once what is wrong. At a later one there are machines and customers to look after meanwhile.
      if (!platform.isKnown() && store.machines({ live: true }).length === 0) await platform.ensure();
      else await applyPlatform();
      // Nobody waits for Tailscale here: who needs a key before there is one has it minted.
      void replenish();
      await readRecipe();
      renewHandOvers(context);
    },
    start() {
      loop.start();
      heartbeats.start();
      sender.start();
      // At once: whatever happened while no daemon ran.
      sweeps.start();
      void chore("read Hetzner's price list", readPrices);
    },
    poke() {
      // What machines are prepared by may be another now.
      void readRecipe();
      loop.poke();
      sender.poke();
    },
    recovery: {
      status: () => recoveryStatus(store),
      async look(actor) {
        if (!store.quarantine()) throw new ReleaseError("nothing is in quarantine");
        await look(actor);
        return recoveryStatus(store);
      },
      release(request) {
        const released = release({ store, config, clock }, request);
        for (const { name } of released.machines) loop.poke(name);
        loop.poke();
        return released;
      },
    },
    async everyMinute() {
      await Promise.all([
        chore("look at the pools' floors", () =>
          raiseAlerts({ store, config: config(), clock, log, targetOf: sizer.target }),
        ),
        chore("look at the disk", () =>
          watchDisk({ store, look: options.disk, stateDir: config().stateDir }),
        ),
        // Not waited for: it may take longer than a minute, and nobody waits for what it says.
        chore("look whether own history is to be replayed", () => void chooseIfDue()),
        chore("look whether all sweeps do well", sweeps.raiseAlerts),
        chore("look at what is in quarantine", lookIfHeld),
        chore("write records again", options.records.retry),
        chore("review orders that were started again", desk.reviewRetried),
        applyPlatform(),
        chore("ask Tailscale again", () => probeTailnet(store, borders.tailnet, config())),
        replenish(),
        readRecipe(),
        chore("read Hetzner's price list", readPrices),
      ]);
    },
    progress() {
      const since = [...chores.values()].map((running) => running.since);
      return { ...loop.progress(), minuteSince: since.length === 0 ? null : Math.min(...since) };
    },
    async stop() {
      stopping = true;
      sweeps.stop();
      stripeSweep.stop();
      const rest = [...chores.values()].map(({ done }) => done);
      await Promise.all([loop.stop({ abort: true }), heartbeats.stop(), sender.stop(), ...rest]);
    },
    close() {
      armed.close();
      asker.close();
    },
  };
}

/**
 * The controller daemon: everything is wired here, by hand, in the order in which it depends on each other. Read this
 * file first; it is the table of contents of the program.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { schedule } from "node-cron";
import type { Logger } from "pino";
import { createAdmin } from "../api/admin.ts";
import { createApi } from "../api/api.ts";
import { openBorders, terraformRoot } from "./borders.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import { watchConfig } from "./config/watch.ts";
import { createLedger } from "./ledger.ts";
import { createLoop } from "./loop.ts";
import { createArmedMachines } from "./machine/armed.ts";
import { reconcile } from "./machine/lifecycle.ts";
import type { StageContext } from "./machine/stage.ts";
import { createMetrics } from "./observe/metrics.ts";
import { poolStatus } from "./observe/status.ts";
import { createOrderDesk } from "./order/desk.ts";
import { createOrderNotifier } from "./order/notifier.ts";
import { createPeople, type People } from "./people.ts";
import { createPlatform } from "./platform.ts";
import { Releasers } from "./releasers.ts";
import { createSealer } from "./secrets/seal.ts";
import { leadTimeMs } from "./sizing/lead-time.ts";
import { serveQueue } from "./sizing/queue.ts";
import { refill, trim } from "./sizing/refill.ts";
import { lockInstance } from "./store/instance-lock.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { createCloudSweep } from "./sweep/cloud.ts";

export interface DaemonOptions {
  readonly config: Config;
  /** Watched for changes when given. */
  readonly configFile?: string;
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface Daemon {
  /** Where the API listens. */
  readonly url: string;
  /** Takes no new work, waits for terraform and hand-overs in flight, closes everything. */
  stop(): Promise<void>;
}

/** Starts everything or nothing. @throws Error naming what could not be started. */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { log, clock = systemClock } = options;
  const { stateDir } = options.config;
  const releasers = new Releasers();
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const unlock = lockInstance(join(stateDir, "daemon.lock"));
    if (!unlock) throw new Error(`another clawpool daemon runs on ${stateDir}`);
    releasers.add("instance lock", unlock);
    let onConfig = (): void => {};
    const config = watchConfig(options.config, options.configFile, log, releasers, () => onConfig());

    // What is remembered.
    const notifier = createOrderNotifier();
    const sealer = createSealer(options.config.sealingKeys);
    const store = openSqliteStore({
      file: join(stateDir, "clawpool.sqlite"),
      sealer,
      clock,
      onOrderEvent(event) {
        notifier.notify(event.order);
        metrics.orderEvent(event);
      },
    });
    releasers.add("store", () => store.close());
    const metrics = createMetrics(store, config);

    // Who is spoken with.
    let people: People | null = null;
    const ledger = createLedger(store, (name) => people?.holds(name) ?? false);
    const borders = await openBorders(options.config, ledger, { clock, log }, releasers);
    const { gate, cloud, terraform, keys } = borders;
    const platform = createPlatform({ store, sealer, terraform, gate, config, log });
    const armed = createArmedMachines(borders.ssh, (name) => loop.poke(name));
    releasers.add("armed machines", () => armed.close());

    // What is done: orders poke the loop, the loop looks at machines, each look is one stage.
    const desk = createOrderDesk({
      store,
      stripe: borders.stripe,
      clock,
      config,
      log,
      onClaimed: (machine) => loop.poke(machine),
      onQueued: () => loop.poke(),
      onEnded: (order) => loop.poke(store.order(order)?.machine ?? undefined),
      buildTimeMs: (plan) => leadTimeMs(store, plan),
    });
    const context: StageContext = {
      ...borders,
      store,
      clock,
      config,
      platform: platform.ids,
      armed,
      confirmation: desk.confirmation,
      log,
    };
    const loop = createLoop({
      clock,
      log,
      live: () => store.machines({ live: true }),
      reconcile: (name, signal) => reconcile(name, context, signal),
      maxParallelBuilds: () => config().maxParallelBuilds,
      afterRound() {
        const claimed = serveQueue(store, config());
        const retired = trim(store, config());
        const planned = refill(store, config(), clock);
        for (const machine of [...claimed, ...retired, ...planned]) loop.poke(machine.name);
      },
    });
    // A pool that is to grow or shrink does so now.
    onConfig = () => loop.poke();
    people = createPeople({ context, gate, loop, platform, terraformRoot: terraformRoot(options.config) });

    for (const { name, ended } of await terraform.leftovers()) {
      log.warn({ machine: name }, "a terraform run of an earlier daemon still runs; waiting for it");
      await ended;
    }
    await platform.ensure();
    await keys?.replenish();
    const sweep = createCloudSweep({
      store,
      cloud,
      instance: () => config().instance,
      log,
      poke: loop.poke,
    });
    const cron = schedule("* * * * *", () => {
      void sweep.run();
      platform
        .ensure()
        .catch((error: unknown) => log.error({ err: error }, "the platform stack was not applied"));
      keys?.replenish().catch((err: unknown) => log.warn({ err }, "no Tailscale key could be minted"));
    });
    releasers.add("cron", () => cron.destroy());

    // Who may ask.
    const status = () => poolStatus(store, config());
    const socket = await createAdmin({ stateDir, store, status, people, log }).listen();
    releasers.add("admin socket", () => socket.close());
    const api = createApi({ desk, store, clock, config, log, events: notifier, status, metrics });
    const { url, close } = await api.listen();
    releasers.add("api", close);
    loop.start();
    // What can be begun again is ended; terraform and hand-overs finish.
    releasers.add("loop", () => loop.stop({ abort: true }));
    log.info({ url, stateDir }, "clawpool runs");
    return { url, stop: () => releasers.release(log) };
  } catch (error) {
    await releasers.release(log);
    throw error;
  }
}

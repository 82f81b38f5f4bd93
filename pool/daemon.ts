/**
 * The controller daemon: everything is wired here, by hand, in the order in which it depends on each other. Read this
 * file first; it is the table of contents of the program.
 */
import { mkdirSync } from "node:fs";
import { schedule } from "node-cron";
import type { Logger } from "pino";
import { createAdmin } from "../api/admin.ts";
import { createApi } from "../api/api.ts";
import { readBill } from "../api/bill.ts";
import { noteChanges, noteStart } from "./applied-config.ts";
import { backupSource } from "./backup/places.ts";
import { createBackups } from "./backup/scheduled.ts";
import { openBorders, terraformRoot } from "./borders.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config/config.ts";
import type { ConfigSource } from "./config/load.ts";
import { watchConfig } from "./config/watch.ts";
import { type Controller, createController } from "./controller.ts";
import { createLedger } from "./ledger.ts";
import { noticePolicy } from "./notify/courier.ts";
import { auditDaemon, logAuditHead } from "./observe/audit-head.ts";
import { diskUse } from "./observe/disk.ts";
import { createMetrics } from "./observe/metrics.ts";
import { poolStatus } from "./observe/status.ts";
import { standstill } from "./observe/watchdog.ts";
import { createOrderNotifier } from "./order/notifier.ts";
import { systemRandom } from "./random.ts";
import { openStore, quarantineOlderStore, refuseLostStore } from "./recovery/open-store.ts";
import { openRecordFiles } from "./recovery/record-files.ts";
import { createRecords } from "./recovery/records.ts";
import { Releasers } from "./releasers.ts";
import { createSealer } from "./secrets/seal.ts";
import { chooseInBackground } from "./sizing/background/choose-in-background.ts";
import { planOf } from "./sizing/explain.ts";
import { minReadyOf } from "./sizing/target.ts";
import { leaseStore } from "./store/daemon-lease.ts";
import { noteWitness } from "./store/witness.ts";
import type { AuditRecorder } from "./tailnet/audited.ts";

export interface DaemonOptions {
  /** Its file is watched for changes. */
  readonly source: ConfigSource;
  readonly log: Logger;
  readonly clock?: Clock;
  /** By which other people's answers are waited for: `clock`, unless that runs too fast for them. */
  readonly answerClock?: Clock;
  /** Calls `run` whenever the expression says, until it is destroyed; node-cron's `schedule`, which knows no other clock. */
  readonly cron?: (expression: string, run: () => void) => { destroy(): unknown };
  /** Another daemon has taken over; nothing can be written any more, so the process should end. */
  readonly onFenced?: () => void;
  /** Ends the start: at once while it waits for another daemon, else when what it has begun is done. */
  readonly signal?: AbortSignal;
}

export interface Daemon {
  /** Where the API listens. */
  readonly url: string;
  /**
   * Takes no new work, waits for terraform and hand-overs in flight, closes everything. Webhooks are taken, durably, until
   * the listener is closed; what they claim meanwhile is handed over by the next daemon.
   */
  stop(): Promise<void>;
  /** Machines that are being worked on now. */
  underWay(): readonly string[];
  /** Why it does not get on any more; null while it does. */
  standstill(): string | null;
}

/**
 * Starts everything or nothing, once no other daemon runs on the state folder.
 *
 * @throws Error naming what could not be started; the signal's reason when it was aborted
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { log, clock = systemClock, answerClock = clock, cron = schedule, source, signal } = options;
  const { stateDir } = source.config;
  const releasers = new Releasers();
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const lease = await leaseStore({ stateDir, clock, log, ...(signal ? { signal } : {}) });
    releasers.add("lease", lease.release);
    const onFenced = () => {
      log.fatal(
        { term: lease.term },
        "another daemon has taken the store over: this one does nothing any more",
      );
      options.onFenced?.();
    };
    lease.keep(onFenced);
    let controller: Controller | null = null;
    let config: () => Config = () => source.config;

    // What is remembered.
    const notifier = createOrderNotifier();
    const sealer = createSealer(source.config.sealingKeys);
    await refuseLostStore(source.config, clock);
    const store = openStore(stateDir, {
      sealer,
      clock,
      fence: { term: lease.term, onFenced },
      onMachine: (machine) => records.machineChanged(machine),
      onOrderEvent(event) {
        notifier.notify(event.order);
        metrics.orderEvent(event);
        if (event.type === "state") records.orderChanged(event.order);
      },
      notices: () => noticePolicy(config()),
      onMessage: () => controller?.notify.poke(),
    });
    releasers.add("store", () => store.close());
    await quarantineOlderStore(stateDir, store);
    const records = createRecords({ store, sealer, files: openRecordFiles(stateDir), log });
    await records.catchUp();
    releasers.add("records", records.settled);
    releasers.add("witness", () => noteWitness(stateDir, store));
    auditDaemon(store, source.config, log, releasers);
    noteStart(store, source);
    const changes = noteChanges({ store, clock, log, poke: () => controller?.poke() }, releasers);
    const watch = watchConfig(source, log, releasers, changes);
    config = watch.current;
    const disk = () => diskUse(stateDir);
    const metrics = createMetrics(
      store,
      config,
      clock,
      () => backups.lastAt(),
      (pool) => controller?.sizer.target(pool) ?? minReadyOf(pool),
      disk,
    );

    // Who is spoken with.
    const ledger = createLedger(store, clock, (name) => controller?.people.holds(name) ?? false);
    const record: AuditRecorder = (...row) => store.audit("daemon", ...row);
    const borders = await openBorders(config, ledger, { clock, answerClock, log, record }, releasers);

    // What is done.
    controller = createController({
      store,
      sealer,
      borders,
      config,
      terraformRoot: terraformRoot(source.config),
      records,
      clock,
      random: systemRandom,
      log,
      choose: chooseInBackground(releasers),
      disk,
      onStripeRepair: metrics.stripeRepair,
      onRepair: metrics.repair,
    });
    const { sizer, notify } = controller;
    const { desk, people, stripeSweep, sweeps, states, destroyByName, resume, rollout, recovery } =
      controller;
    releasers.add("armed machines", controller.close);
    await controller.prepare();
    if (signal?.aborted) {
      await controller.stop();
      throw signal.reason;
    }
    const backups = await createBackups({ store, source: () => backupSource(config()), config, clock, log });
    releasers.add("backups", backups.stop);
    const minutely = cron("* * * * *", () => {
      void controller?.everyMinute();
      void backups.runIfDue();
      noteWitness(stateDir, store).catch((err) => log.error({ err }, "the store's head could not be noted"));
    });
    releasers.add("cron", () => minutely.destroy());
    const hourly = cron("0 * * * *", () => logAuditHead(store, log));
    releasers.add("hourly cron", () => hourly.destroy());

    // Who may ask.
    const status = () => poolStatus(store, config(), clock);
    const plans = (name: string | null) =>
      config()
        .pools.filter((pool) => name === null || pool.name === name)
        .map((pool) => planOf(pool, { store, config: config(), clock, sizer }));
    const bill = (query: URLSearchParams) => readBill({ store, clock }, query);
    const asked = { people, desk, resume, rollout, stripeSweep, sweeps, states, destroyByName, recovery };
    const parts = { stateDir, store, status, plans, config: watch, bill, notify, ...asked };
    const socket = await createAdmin({ ...parts, log }).listen();
    releasers.add("admin socket", () => socket.close());
    const api = createApi({ desk, store, clock, config, log, events: notifier, status, plans, metrics });
    const { url, close } = await api.listen();
    releasers.add("api", close);
    controller.start();
    releasers.add("controller", controller.stop);
    log.info({ url, stateDir }, "clawpool runs");
    const { progress } = controller;
    return {
      url,
      stop: () => releasers.release(log),
      underWay: () => progress().looks.map(({ name }) => name),
      standstill: () =>
        standstill(progress(), clock.now(), () => store.putSetting("watchdog/fed", String(clock.now()))),
    };
  } catch (error) {
    await releasers.release(log);
    throw error;
  }
}

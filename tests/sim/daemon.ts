/** One life of the daemon in the simulated world: the production controller, wired with simulated borders. */
import { pino } from "pino";
import { leastKeyLifeMs } from "../../pool/borders.ts";
import type { Config } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { type Controller, createController } from "../../pool/controller.ts";
import { createLedger } from "../../pool/ledger.ts";
import { noticePolicy } from "../../pool/notify/courier.ts";
import { createRecords, type Records } from "../../pool/recovery/records.ts";
import type { Sealer } from "../../pool/secrets/seal.ts";
import { acquireLease } from "../../pool/store/lease.ts";
import type { Store } from "../../pool/store/store.ts";
import { createKeyStock } from "../../pool/tailnet/key-stock.ts";
import type { Tailnet } from "../../pool/tailnet/tailnet.ts";
import { env, example } from "../config/example.ts";
import { simulatedCourier } from "./borders/courier.ts";
import { simulatedGate } from "./borders/gate.ts";
import { simulatedCloud, simulatedWire } from "./borders/hetzner.ts";
import { simulatedAnsible, simulatedSsh } from "./borders/machines.ts";
import { simulatedRecordFiles } from "./borders/records.ts";
import { simulatedStripe } from "./borders/stripe.ts";
import { simulatedTailnet } from "./borders/tailnet.ts";
import { simulatedTerraform } from "./borders/terraform.ts";
import { emptyStore, fencedStore, lease, type SimStore, sealer } from "./database.ts";
import { judgeFloor } from "./idle.ts";
import { Incarnation } from "./incarnation.ts";
import { judgeSurplus } from "./sizings.ts";
import { Watch } from "./watch.ts";
import type { World } from "./world.ts";

const minute = 60_000;

/** What outlives a daemon besides the world: its database and its operator's file. */
export interface Installation {
  readonly store: SimStore;
  watch: Watch;
  /** Who keeps what of the rows is kept beside the database: the last life that began; null before the first. */
  records: Records | null;
  readonly sealer: Sealer;
  config: Config;
  /** Wakes who sends messages. */
  onMessage: () => void;
}

const parsed = parseConfig(example, "clawpool.yaml", env);

export function install(world: World): Installation {
  const config: Config = {
    ...parsed,
    maxTotal: 8,
    // Rarer than in production: most looks find that all is well.
    serving: { ...parsed.serving, heartbeatMs: 5 * minute },
    releaseGraceMs: 4 * minute,
    // Half as often as in production: most of what a schedule costs is looks at which all is well.
    sweeps: { ...parsed.sweeps, everyMs: minute },
    suspension: { ...parsed.suspension, overdueMs: 5 * minute },
    pools: parsed.pools.map((pool) => ({
      ...pool,
      minReady: 2,
      maxTotal: 8,
      // Often enough for a schedule of minutes.
      proof: { everyMs: 10 * minute, againMs: minute },
      rollout: { ...pool.rollout, soakMs: 5 * minute },
    })),
  };
  world.maxTotal = config.maxTotal;
  world.graceMs = config.releaseGraceMs;
  const store = emptyStore(world.clock, {
    onMachine: (machine) => installation.records?.machineChanged(machine),
    onOrderEvent: ({ type, order }) => type === "state" && installation.records?.orderChanged(order),
    onMessage: () => installation.onMessage(),
    notices: () => noticePolicy(installation.config),
  });
  const watch = new Watch(world, store);
  const installation: Installation = { store, watch, records: null, sealer, config, onMessage: () => {} };
  store.onWritten = (rows) => {
    watch.wrote(rows);
    judgeFloor(rows, world, installation);
    judgeSurplus(rows, world, installation);
  };
  return installation;
}

export interface SimDaemon {
  readonly life: Incarnation;
  /** Null until it takes requests. */
  serving: Controller | null;
  /** Runs of terraform that were under way when it was started. */
  readonly inherited: ReadonlySet<Promise<unknown>>;
}

/** What the daemon logs is read for secrets (I6) with each such seed only: writing it takes a third of the time. */
const heardEvery = 16;
const logTo = (watch: Watch) =>
  pino({ level: "trace" }, { write: (line: string) => watch.told("the log", line) });

/** Starts a daemon; it may die before it serves. */
export function startDaemon(world: World, installation: Installation, killAt: number | null): SimDaemon {
  const count = () => {
    world.events += 1;
  };
  const onDeath = () => world.note(`the daemon is killed at point ${life.points}`);
  const life = new Incarnation(world.clock, killAt, count, onDeath);
  const daemon: SimDaemon = { life, serving: null, inherited: new Set(world.processes.values()) };
  void run(daemon, world, installation);
  return daemon;
}

/** @throws Killed when it dies while it is put together */
async function assemble(
  world: World,
  installation: Installation,
  life: Incarnation,
  own: Store,
): Promise<Controller> {
  const store = life.store(own);
  const { sealer } = installation;
  const log = world.seed % heardEvery === 0 ? logTo(installation.watch) : pino({ level: "silent" });
  const files = life.border(simulatedRecordFiles(world, life));
  const records = createRecords({ store, sealer, files, log });
  installation.records = records;
  await records.catchUp();
  const config = () => installation.config;
  let controller: Controller | null = null;
  const ledger = createLedger(store, life.clock, (name) => controller?.people.holds(name) ?? false);
  const gate = simulatedGate(world, life, ledger, simulatedWire(world));
  const tailnet: Tailnet = life.border(simulatedTailnet(world));
  const { tags, keyStock } = installation.config.tailnet ?? { tags: [], keyStock: 0 };
  controller = createController({
    store,
    sealer,
    borders: {
      gate,
      cloud: life.border(simulatedCloud(world)),
      terraform: life.border(simulatedTerraform(world, gate)),
      ansible: life.border(simulatedAnsible(world)),
      ssh: life.border(simulatedSsh(world)),
      stripe: life.border(simulatedStripe(world)),
      tailnet,
      courier: life.border(simulatedCourier(world)),
      keys: createKeyStock({
        tailnet,
        clock: life.clock,
        tags,
        instance: installation.config.instance,
        size: keyStock,
        minTtlMs: leastKeyLifeMs,
        onRevokeFailed: () => {},
      }),
    },
    config,
    terraformRoot: "/terraform",
    records,
    clock: life.clock,
    disk: () => world.disk,
    random: world.chance,
    log,
    // Rarer than in production: whatever is only found by the heartbeat should have been poked.
    heartbeatMs: minute,
  });
  return controller;
}

/** The store under a lease of this life's own, once it has it; a life that loses it ends, as the process does. */
async function ownStore(world: World, life: Incarnation): Promise<Store> {
  const held = await acquireLease({
    rows: lease,
    lock(term) {
      if (world.terms.has(term)) return null;
      world.terms.add(term);
      return () => void world.terms.delete(term);
    },
    holder: "a daemon",
    clock: life.clock,
    // In another container: it can only be fenced.
    end: async () => {},
    onWait: () => world.note("a second daemon waits"),
    onTakeOver: (_holder, why) =>
      world.note(`a second daemon takes over from one that ${why === "hung" ? "hangs" : "is gone"}`),
  });
  void life.died.then(held.release);
  const onFenced = () => {
    world.fenced += 1;
    life.kill();
  };
  held.keep(onFenced);
  return fencedStore({ term: held.term, onFenced });
}

async function run(daemon: SimDaemon, world: World, installation: Installation): Promise<void> {
  const { life } = daemon;
  let controller: Controller;
  try {
    const own = world.leased ? await ownStore(world, life) : installation.store;
    controller = await assemble(world, installation, life, own);
    await controller.prepare();
  } catch (error) {
    if (!life.dead) world.note(`the daemon cannot start: ${error}`);
    // As in production a daemon that cannot start ends, and systemd starts another.
    life.kill();
    return;
  }
  installation.onMessage = () => {
    if (!life.dead) controller.notify.poke();
  };
  controller.start();
  daemon.serving = controller;
  world.note("the daemon serves");
  for (;;) {
    await life.clock.delay(minute);
    controller
      .everyMinute()
      .catch((error: unknown) => world.violate("daemon", `a minute's work threw ${error}`));
  }
}

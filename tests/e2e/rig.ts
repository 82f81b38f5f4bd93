/** Local cloud, daemon and shop together, as an operator would run them; one of these for each file of tests. */
import { strict as assert } from "node:assert";
import { watch } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { askDaemon } from "../../pool/cli/admin-client.ts";
import type { Machine } from "../../pool/machine/machine.ts";
import type { AuditRow } from "../../pool/store/store.ts";
import { type DaemonProcess, startDaemonProcess } from "../cloud/daemon-process.ts";
import {
  type ConfigChange,
  type LocalCloud,
  type MachineKind,
  type OperatorFiles,
  startLocalCloud,
} from "../cloud/local-cloud.ts";
import { openShop, type Shop } from "../cloud/shop.ts";

const cdktfProgram = fileURLToPath(new URL("../../node_modules/.bin/cdktf", import.meta.url));

export type MachineDetail = Machine & { readonly history: readonly AuditRow[] };

/** @param logFile to which it adds its own */
export type StartDaemon = (configFile: string, logFile: string) => Promise<DaemonProcess>;

export interface Rig {
  readonly dir: string;
  readonly cloud: LocalCloud;
  readonly daemon: DaemonProcess;
  readonly shop: Shop;
  readonly operator: OperatorFiles;
  /** Machines that are not destroyed. */
  machines(): Promise<Machine[]>;
  machine(name: string): Promise<MachineDetail>;
  ask<T>(method: "GET" | "POST", path: string, body?: unknown): Promise<T>;
  /** Waits until `look` gives something; it is asked again whenever the daemon has written to its store. */
  until<T>(what: string, look: () => Promise<T | null | undefined | false>): Promise<T>;
  /** Another daemon, by `start` or as usual, since this one has ended or is to be replaced; `daemon` and `shop` are its own then. */
  restart(start?: StartDaemon): Promise<void>;
  /** `npx cdktf …` as a person would run it, with what it printed. */
  cdktf(...args: string[]): Promise<{ all: string; exitCode: number | undefined }>;
  /** An order, paid and served. */
  serve(): Promise<{ order: string; machine: string; subscription: string }>;
  /** Stops everything. @throws AssertionError naming what outlived it. */
  stop(): Promise<void>;
}

export async function startRig(machines: MachineKind, config: ConfigChange = {}): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "clawpool-e2e-"));
  const stops: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true })];
  const unwind = () => unwindAll(stops);
  try {
    const cloud = await startLocalCloud({ machines, dir });
    stops.push(() => cloud.stop());
    const operator = await cloud.writeConfig(config);
    const startDaemon = async (start: StartDaemon = startDaemonProcess) => {
      const started = await start(operator.configFile, join(dir, "daemon.log"));
      cloud.stripe.setWebhook(`${started.url}/webhooks/stripe`);
      return { daemon: started, shop: openShop(started.url, operator.apiToken) };
    };
    let { daemon, shop } = await startDaemon();
    stops.push(async () => assert.equal(await daemon.stop(), 0, "the daemon's exit code"));
    const ask = <T>(method: "GET" | "POST", path: string, body?: unknown) =>
      askDaemon<T>(operator.stateDir, method, path, body);
    return {
      dir,
      cloud,
      get daemon() {
        return daemon;
      },
      get shop() {
        return shop;
      },
      operator,
      ask,
      machines: () => ask("GET", "/machines"),
      machine: (name) => ask("GET", `/machines/${name}`),
      until: (what, look) =>
        untilStore(operator.stateDir, what, async () => {
          // What woke us is the write; who reads the file itself sees it only after the commit, and the daemon, which
          // commits without a pause, answers after that.
          await ask("GET", "/status");
          return look();
        }),
      async restart(start) {
        ({ daemon, shop } = await startDaemon(start));
      },
      async cdktf(...args) {
        const { all, exitCode } = await execa(cdktfProgram, args, {
          cwd: dir,
          reject: false,
          all: true,
          stdin: "ignore",
          extendEnv: false,
          env: {
            PATH: process.env.PATH,
            HOME: process.env.HOME,
            TMPDIR: dir,
            CI: "1",
            FORCE_COLOR: "0",
            CLAWPOOL_CONFIG: operator.configFile,
          },
        });
        return { all, exitCode };
      },
      async serve() {
        const { id, checkout_session: session } = await shop.order();
        const running = shop.follow(id, ["running"]);
        const { subscription, sent } = cloud.stripe.console.buy(session ?? "");
        await Promise.all([sent, running]);
        const { machine } = await shop.view(id);
        return { order: id, machine: machine?.name ?? "", subscription: subscription.id };
      },
      async stop() {
        await unwind();
        const { stdout } = await execa("ps", ["-eo", "pid,args"]);
        // What runs for us names something below the folder; whoever searches all of /tmp names the folder itself.
        const left = stdout.split("\n").filter((line) => line.includes(`${dir}/`));
        assert.deepEqual(left, [], "processes that outlived the local cloud");
      },
    };
  } catch (error) {
    await unwind();
    throw error;
  }
}

/** Last started, first stopped; what fails does not keep the rest from stopping. @throws the first failure */
export async function unwindAll(stops: (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (let stop = stops.pop(); stop; stop = stops.pop()) {
    try {
      await stop();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

async function untilStore<T>(
  stateDir: string,
  what: string,
  look: () => Promise<T | null | undefined | false>,
): Promise<T> {
  let wake = Promise.withResolvers<void>();
  // SQLite writes every commit to its log beside the database.
  const watcher = watch(stateDir, (_event, file) => {
    if (file?.startsWith("clawpool.sqlite")) wake.resolve();
  });
  watcher.on("error", (error) => wake.reject(new Error(`while waiting until ${what}`, { cause: error })));
  try {
    for (;;) {
      wake = Promise.withResolvers<void>();
      const found = await look();
      if (found) return found;
      await wake.promise;
    }
  } finally {
    watcher.close();
  }
}

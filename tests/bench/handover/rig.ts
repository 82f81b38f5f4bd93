/** What every benchmark of the daemon needs: the local cloud with real machines, the daemon, a shop, a customer. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { parse, stringify } from "yaml";
import type { PoolView } from "../../../api/views.ts";
import { systemClock } from "../../../pool/clock.ts";
import type { Config } from "../../../pool/config/config.ts";
import { loadConfig } from "../../../pool/config/load.ts";
import { createSealer } from "../../../pool/secrets/seal.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../../pool/store/sqlite.ts";
import type { Store } from "../../../pool/store/store.ts";
import { createTailnet } from "../../../pool/tailnet/client.ts";
import type { Tailnet } from "../../../pool/tailnet/tailnet.ts";
import { becomeCustomer } from "../../cloud/agent.ts";
import { type DaemonProcess, startDaemonProcess } from "../../cloud/daemon-process.ts";
import { type LocalCloud, startLocalCloud } from "../../cloud/local-cloud.ts";
import { openShop, type Shop } from "../../cloud/shop.ts";
import type { TailnetNode } from "../../cloud/tailscale/node.ts";

export interface PoolWish {
  readonly minReady: number;
  readonly maxTotal: number;
  /** Makes a chat turn part of a machine's preparation; a change needs a new daemon. */
  readonly warmUp?: boolean;
}

export interface Rig {
  readonly cloud: LocalCloud;
  /** Where the local cloud keeps its own records. */
  readonly cloudDir: string;
  readonly shop: Shop;
  /** The customer's own node of the tailnet. */
  readonly node: TailnetNode;
  readonly config: Config;
  /** The daemon's store, opened a second time; SQLite's WAL mode allows that. */
  readonly store: Store;
  readonly db: Database.Database;
  readonly tailnet: Tailnet;
  readonly daemon: DaemonProcess;
  /** Writes clawpool.yaml; a running daemon takes it by itself. */
  configure(wish: PoolWish): Promise<void>;
  restartDaemon(): Promise<void>;
  /** Resolves when the pool is as wanted. */
  poolIs(wanted: (pool: PoolView["pools"][number]) => boolean): Promise<void>;
  close(): Promise<void>;
}

/** The second model that the machines' config declares, for orders that want another than the pool's. */
export const models = ["local/claw", "local/claw-2"] as const;

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Looks every 100 ms: what it waits for is in another process that announces nothing. @throws Error after `timeoutMs` */
export async function until(
  what: string,
  timeoutMs: number,
  is: () => Promise<boolean> | boolean,
): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await is()); await pause(100)) {
    if (Date.now() > end) throw new Error(`${what}: not after ${timeoutMs} ms`);
  }
}

export async function startRig(wish: PoolWish, onProgress: (text: string) => void): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "clawpool-bench-"));
  const stops: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  const close = async () => {
    for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
  };
  try {
    const cloud = await startLocalCloud({ machines: "nspawn", dir, onProgress });
    stops.push(() => cloud.stop());
    const configure = async ({ minReady, maxTotal, warmUp = true }: PoolWish) => {
      const operator = await cloud.writeConfig({ minReady, maxTotal, maxParallelBuilds: 2 });
      const yaml = parse(await readFile(operator.configFile, "utf8"));
      const [provider] = yaml.prepare.vars.clawpool_providers;
      provider.models = models.map((model) => ({ id: model.split("/")[1], name: model }));
      yaml.prepare.vars.clawpool_warm_up = warmUp;
      await writeFile(operator.configFile, stringify(yaml), { mode: 0o600 });
      return operator;
    };
    const operator = await configure(wish);
    const logFile = join(dir, "daemon.log");
    let daemon = await startDaemonProcess(operator.configFile, logFile);
    stops.push(() => daemon.stop());
    cloud.stripe.setWebhook(`${daemon.url}/webhooks/stripe`);
    let shop = openShop(daemon.url, operator.apiToken);

    const customer = await becomeCustomer(cloud, join(dir, "customer"));
    stops.push(() => customer.close());
    if (!customer.node) throw new Error("the customer has no node of a real tailnet");
    const config = loadConfig(operator.configFile);
    const file = join(operator.stateDir, "clawpool.sqlite");
    const store = openSqliteStore({ file, sealer: createSealer(config.sealingKeys) });
    stops.push(() => store.close());
    const db = new Database(file);
    db.pragma("busy_timeout = 5000");
    stops.push(() => db.close());
    const { tailscale } = cloud;
    const tailnet = createTailnet({
      apiUrl: tailscale.apiUrl,
      clientId: tailscale.clientId,
      clientSecret: new Secret(tailscale.clientSecret),
      clock: systemClock,
    });
    return {
      cloud,
      cloudDir: dir,
      get shop() {
        return shop;
      },
      node: customer.node,
      config,
      store,
      db,
      tailnet,
      get daemon() {
        return daemon;
      },
      configure: async (change) => {
        await configure(change);
      },
      async restartDaemon() {
        await daemon.stop();
        daemon = await startDaemonProcess(operator.configFile, logFile);
        cloud.stripe.setWebhook(`${daemon.url}/webhooks/stripe`);
        shop = openShop(daemon.url, operator.apiToken);
      },
      async poolIs(wanted) {
        await until("the pool", 1_200_000, async () => {
          const [pool] = (await shop.pool()).pools;
          return pool !== undefined && wanted(pool);
        });
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

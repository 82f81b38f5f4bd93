/** The local cloud with folder machines, and the daemon under its unit (unit-host.ts), at production's intervals. */

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OrderId } from "../../../pool/machine/machine.ts";
import { createSealer } from "../../../pool/secrets/seal.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { openSqliteStore } from "../../../pool/store/sqlite.ts";
import type { Store } from "../../../pool/store/store.ts";
import { type LocalCloud, startLocalCloud } from "../../cloud/local-cloud.ts";
import { openShop, type Shop } from "../../cloud/shop.ts";
import { until } from "../handover/rig.ts";
import { startUnitHost, type UnitHost } from "./unit-host.ts";

export interface Rig {
  readonly cloud: LocalCloud;
  readonly host: UnitHost;
  readonly shop: Shop;
  readonly store: Store;
  readonly url: string;
  /** An order that is not paid yet. */
  order(name: string): Promise<{ readonly id: OrderId; readonly session: string }>;
  ready(count: number): Promise<void>;
  /** Resolves when the order runs; looks every 50 ms. */
  runs(order: OrderId): Promise<void>;
  close(): Promise<void>;
}

/** As long as anything here may take: a Stripe sweep comes every 14 minutes. */
const longestMs = 25 * 60_000;

export async function startRig(minReady: number, onProgress: (text: string) => void): Promise<Rig> {
  const dir = await mkdtemp(join(tmpdir(), "clawpool-times-"));
  const stops: (() => unknown)[] = [() => rm(dir, { recursive: true, force: true })];
  const close = async () => {
    for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
  };
  try {
    const cloud = await startLocalCloud({ machines: "process", dir, onProgress });
    stops.push(() => cloud.stop());
    // The same after each start, as Stripe knows it.
    const listen = `127.0.0.1:${await freePort()}`;
    const url = `http://${listen}`;
    cloud.stripe.setWebhook(`${url}/webhooks/stripe`);
    const operator = await cloud.writeConfig({ minReady, maxTotal: 3 * minReady, listen });
    onProgress("starting the daemon as a unit of systemd");
    const host = await startUnitHost({ dir, ...operator });
    stops.push(() => host.stop());
    const sealingKey = await readFile(join(dir, "secrets", "sealing.key"), "utf8");
    const store = openSqliteStore({
      file: join(operator.stateDir, "clawpool.sqlite"),
      sealer: createSealer([new Secret(sealingKey)]),
    });
    stops.push(() => store.close());
    const shop = openShop(url, operator.apiToken);
    return {
      cloud,
      host,
      shop,
      store,
      url,
      async order(name) {
        const { id, checkout_session } = await shop.order({ customer: name });
        return { id: id as OrderId, session: checkout_session ?? "" };
      },
      ready: (count) =>
        until(
          `${count} machines are ready`,
          300_000,
          () => store.machines({ states: ["ready"] }).length >= count,
        ),
      runs: (order) => until(`${order} runs`, longestMs, () => store.order(order)?.state === "running"),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}

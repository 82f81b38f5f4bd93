/**
 * The daemon's side of a burst of webhooks, to be killed: API listener, order desk, queue and SQLite file, all of them
 * production code. It imports everything, waits for its turn (the next dies only when the one before it is dead), writes
 * what its first line names, and says where it listens.
 */

import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { createApi } from "../../api/api.ts";
import { systemClock } from "../../pool/clock.ts";
import { parseConfig } from "../../pool/config/load.ts";
import type { MachineName } from "../../pool/machine/machine.ts";
import { createOrderDesk } from "../../pool/order/desk.ts";
import { createOrderNotifier } from "../../pool/order/notifier.ts";
import { systemRandom } from "../../pool/random.ts";
import { serveQueue } from "../../pool/refill/queue.ts";
import { createSealer } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { leaseStore } from "../../pool/store/daemon-lease.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { createStripeGateway } from "../../pool/stripe/gateway.ts";
import { env, example } from "../config/example.ts";
import { makeReady, newOrder } from "../store/rows.ts";

export interface Turn {
  readonly dir: string;
  readonly sealingKey: string;
  readonly webhookSecret: string;
  /** What there is to be before it listens; what is there already stays. */
  readonly machines: readonly string[];
  readonly orders: readonly string[];
  /** It says yes before it has written anything: what the harness must catch. */
  readonly lies: boolean;
}

// Whoever is killed never gets to it at its end, and a thousand starts would compile everything a thousand times.
flushCompileCache();
const lines = createInterface({ input: process.stdin });
const turn = await new Promise<Turn>((resolve) =>
  lines.once("line", (line) => resolve(JSON.parse(line) as Turn)),
);

const log = pino({ level: "silent" });
const file = join(turn.dir, "clawpool.sqlite");
const lease = await leaseStore({ stateDir: turn.dir, clock: systemClock, log });
const parsed = parseConfig(example, "clawpool.yaml", env);
const config = {
  ...parsed,
  api: { ...parsed.api, listen: { host: "127.0.0.1", port: 0 } },
  stripe: { ...parsed.stripe, webhookSecrets: [new Secret(turn.webhookSecret)] },
};
const notifier = createOrderNotifier();
const store = openSqliteStore({
  file,
  sealer: createSealer([new Secret(turn.sealingKey)]),
  fence: { term: lease.term },
  onOrderEvent: ({ order }) => notifier.notify(order),
});
const [plan] = config.pools;
const location = plan?.locations[0] ?? "";
const unlimited = { maxTotal: Number.MAX_SAFE_INTEGER, maxTotalAll: Number.MAX_SAFE_INTEGER };
for (const id of turn.orders) {
  const order = newOrder(id, { plan: plan?.plan ?? "", region: "eu-central" });
  if (store.order(order.id) === null) store.createOrder(order);
}
for (const name of turn.machines) {
  if (store.machine(name as MachineName) !== null) continue;
  makeReady(store, name, { pool: plan?.name ?? "", plan: plan?.plan ?? "", location }, unlimited);
}

// As the loop does between two looks.
const queue = () => setImmediate(() => serveQueue(store, config));
const desk = createOrderDesk({
  store,
  // Nobody answers there: what a signed event says of a paid session is enough to claim by.
  stripe: createStripeGateway({
    key: new Secret("sk_test_nobody"),
    apiUrl: "http://127.0.0.1:9",
    clock: systemClock,
    maxNetworkRetries: 0,
  }),
  clock: systemClock,
  random: systemRandom,
  config: () => config,
  onClaimed: queue,
  onQueued: queue,
  buildTimeMs: () => null,
  log,
});
const lying: typeof desk.webhook = async (raw, header) => {
  void delay(5).then(() => desk.webhook(raw, header));
  return { kind: "noted" };
};
const api = createApi({
  desk: turn.lies ? { ...desk, webhook: lying } : desk,
  store,
  clock: systemClock,
  config: () => config,
  log,
  events: notifier,
  plans: () => [],
  status: () => ({ instance: config.instance, pools: [], quarantine: null, flags: store.flags() }),
});
const { url } = await api.listen();
console.log(url);

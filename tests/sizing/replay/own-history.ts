/** A store's file that has lived: prices, payments of some weeks and the builds behind them. */
import { strict as assert } from "node:assert";
import { systemClock } from "../../../pool/clock.ts";
import { createSealer, newSealingKey } from "../../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../../pool/store/sqlite.ts";
import type { Store } from "../../../pool/store/store.ts";
import { caps, endBuild, newMachine, newOrder, pay } from "../../store/rows.ts";

const price = (net: number) => ({
  hourly: { net, gross: net },
  monthly: { net: net * 600, gross: net * 700 },
});

export const prices = {
  ...{ currency: "EUR", vatPercent: 19, volumeGbMonth: null, snapshotGbMonth: null },
  servers: { cx23: { fsn1: price(0.0075) } },
  primaryIpv4: { fsn1: price(0.0005) },
};

const dayMs = 86_400_000;
/** One machine that took four minutes, then `count` payments, evenly over the `days` before `until`. The caller closes it. */
export function storeWithHistory(
  file: string,
  { count, days, until, pool = "small-eu" }: { count: number; days: number; until: number; pool?: string },
): Store {
  const begun = until - days * dayMs;
  const time = { now: begun - 600_000 };
  const clock = { ...systemClock, now: () => time.now };
  const store = openSqliteStore({ file, sealer: createSealer([newSealingKey()]), clock });
  store.rememberPrices(prices);
  const { name } = store.planMachine(newMachine("m-1", { pool }), caps) ?? assert.fail();
  time.now += 240_000;
  endBuild(store, name);
  for (let order = 0; order < count; order++) {
    time.now = begun + Math.floor((order * days * dayMs) / count);
    store.createOrder(newOrder(`o-${order}`));
    pay(store, `o-${order}`);
  }
  time.now = until;
  return store;
}

import { strict as assert } from "node:assert";
import pino from "pino";
import { createPriceReading, stalePricesFlag } from "../../pool/bill/price-reading.ts";
import type { PriceList } from "../../pool/cloud/prices.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { priceList } from "../hetzner-client/pricing.ts";
import { VirtualClock } from "../virtual-clock.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

describe("reading Hetzner's prices", () => {
  let clock: VirtualClock;
  let store: Store;
  let asked: number;
  let given: PriceList | null;
  const open = () =>
    createPriceReading({
      store,
      clock,
      log: pino({ level: "silent" }),
      cloud: {
        async prices() {
          asked += 1;
          if (given) return given;
          throw new Error("Hetzner does not answer");
        },
      },
    });
  beforeEach(() => {
    clock = new VirtualClock();
    store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
    asked = 0;
    given = priceList;
  });
  afterEach(() => store.close());

  it("asks once a day, and not again after a restart", async () => {
    const read = open();
    await read();
    await read();
    await open()();
    assert.equal(asked, 1);
    await clock.advance(dayMs);
    await read();
    assert.equal(asked, 2);
    assert.equal(store.prices()?.readAt, clock.now());
    assert.equal(store.auditRows({ subject: "hetzner" }).length, 1);
  });

  it("keeps the last list while Hetzner does not answer, and tells a person after three days", async () => {
    const read = open();
    await read();
    const { readAt } = store.prices() ?? assert.fail("no prices");
    given = null;
    for (let day = 1; day <= 3; day++) {
      assert.deepEqual(store.flags(), []);
      await clock.advance(dayMs);
      await read();
    }
    assert.deepEqual(
      store.flags().map(({ kind }) => kind),
      [stalePricesFlag],
    );
    assert.deepEqual(store.prices(), { ...priceList, since: readAt, readAt });
    given = priceList;
    await clock.advance(10 * minuteMs);
    await read();
    assert.deepEqual(store.flags(), []);
  });

  it("asks again for the first list whenever it is told to, and in ten minutes for another", async () => {
    given = null;
    const read = open();
    await read();
    await read();
    assert.deepEqual([asked, store.prices()], [2, null]);
    given = priceList;
    await read();
    given = null;
    await clock.advance(dayMs);
    await read();
    await clock.advance(minuteMs);
    await read();
    assert.equal(asked, 4);
    await clock.advance(9 * minuteMs);
    await read();
    assert.equal(asked, 5);
  });

  it("writes another list down beside the first, and says so once", async () => {
    const read = open();
    await read();
    given = { ...priceList, vatPercent: 20 };
    await clock.advance(dayMs);
    await read();
    assert.equal(store.prices()?.vatPercent, 20);
    assert.equal(store.prices()?.since, clock.now());
    assert.equal(store.auditRows({ subject: "hetzner" }).length, 2);
  });
});

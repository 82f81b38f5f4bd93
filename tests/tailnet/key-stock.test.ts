import { strict as assert } from "node:assert";
import { Secret } from "../../pool/secrets/secret.ts";
import { createKeyStock, type KeyStockOptions } from "../../pool/tailnet/key-stock.ts";
import type { AuthKey } from "../../pool/tailnet/tailnet.ts";
import { VirtualClock } from "../virtual-clock.ts";

describe("key stock", () => {
  let clock: VirtualClock;
  let minted: AuthKey[];
  let revoked: string[];
  let mintFails: Error | null;
  let beforeMint: () => Promise<void>;

  beforeEach(() => {
    clock = new VirtualClock();
    minted = [];
    revoked = [];
    mintFails = null;
    beforeMint = async () => {};
  });

  const stockOf = (options: Partial<KeyStockOptions> = {}) =>
    createKeyStock({
      tailnet: {
        async mintKey({ expirySeconds }) {
          await beforeMint();
          if (mintFails) throw mintFails;
          const id = `k${minted.length + 1}`;
          const key = {
            id,
            key: new Secret(`tskey-auth-${id}`),
            expiresAt: clock.now() + expirySeconds * 1_000,
          };
          minted.push(key);
          return key;
        },
        async revokeKey(id) {
          revoked.push(id);
        },
      },
      clock,
      tags: ["tag:claw-vm"],
      instance: "test",
      size: 2,
      minTtlMs: 120_000,
      ...options,
    });
  const ids = async (takes: Promise<AuthKey>[]) => (await Promise.all(takes)).map(({ id }) => id);

  it("holds the wanted number and fills up what was taken", async () => {
    const stock = stockOf();
    await stock.replenish();
    assert.equal(minted.length, 2);
    assert.deepEqual(await ids([stock.take()]), ["k1"]);
    assert.equal(minted.length, 2, "taken from the stock");
    await stock.replenish();
    assert.equal(minted.length, 3);
  });

  it("gives each key once, also to those who ask at the same time and beyond the stock", async () => {
    const stock = stockOf();
    await stock.replenish();
    const taken = await ids([stock.take(), stock.take(), stock.take(), stock.take()]);
    assert.deepEqual(taken.toSorted(), ["k1", "k2", "k3", "k4"]);
  });

  it("mints at once when it is empty", async () => {
    assert.deepEqual(await ids([stockOf().take()]), ["k1"]);
  });

  it("never gives a key with less than the least life, and lets it expire", async () => {
    const stock = stockOf({ ttlSeconds: 600 });
    await stock.replenish();
    await clock.advance(480_000);
    assert.deepEqual(await ids([stock.take()]), ["k1"], "exactly the least life is enough");
    await clock.advance(1);
    assert.deepEqual(await ids([stock.take()]), ["k3"]);
    await stock.replenish();
    assert.deepEqual(revoked, []);
    assert.equal(minted.length, 5);
  });

  it("mints once for turns that overlap", async () => {
    const stock = stockOf();
    await Promise.all([stock.replenish(), stock.replenish()]);
    assert.equal(minted.length, 2);
  });

  it("tells its caller when it cannot mint, and holds none that is too old", async () => {
    const stock = stockOf({ ttlSeconds: 600 });
    await stock.replenish();
    await clock.advance(600_000);
    mintFails = new Error("429");
    await assert.rejects(stock.replenish(), /429/);
    await assert.rejects(stock.take(), /429/);
    mintFails = null;
    await stock.replenish();
    assert.equal(minted.length, 4);
  });

  it("mints a handful a day when nobody takes any", async () => {
    const stock = stockOf();
    for (let minute = 0; minute < 24 * 60; minute++) {
      await stock.replenish();
      await clock.advance(60_000);
    }
    assert.equal(minted.length, 2 * 5);
    assert.deepEqual(revoked, []);
  });

  it("reports a key that could not be revoked and goes on", async () => {
    const failed: string[] = [];
    const inner = stockOf();
    await inner.close();
    const stock = stockOf({
      tailnet: {
        mintKey: async () => ({ id: "k1", key: new Secret("x"), expiresAt: clock.now() + 600_000 }),
        revokeKey: async () => {
          throw new Error("503");
        },
      },
      onRevokeFailed: (id) => failed.push(id),
    });
    await stock.replenish();
    await stock.close();
    assert.deepEqual(failed, ["k1", "k1"]);
  });

  it("revokes at close what was not taken, keys still being minted included, and gives none afterwards", async () => {
    const stock = stockOf();
    await stock.replenish();
    await stock.take();
    const gate = Promise.withResolvers<void>();
    beforeMint = () => gate.promise;
    const filling = stock.replenish();
    const closing = stock.close();
    gate.resolve();
    await Promise.all([filling, closing]);
    assert.deepEqual(revoked.toSorted(), ["k2", "k3"]);
    await assert.rejects(stock.take(), /closed/);
    await stock.replenish();
    assert.equal(minted.length, 3);
  });

  it("refuses a least life that no key can have", () => {
    assert.throws(() => stockOf({ ttlSeconds: 120 }), RangeError);
  });
});

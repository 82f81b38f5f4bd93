import { strict as assert } from "node:assert";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { noteChanges } from "../../pool/applied-config.ts";
import { systemClock } from "../../pool/clock.ts";
import { configChange } from "../../pool/config/changes.ts";
import type { PoolConfig } from "../../pool/config/config.ts";
import { parseSource } from "../../pool/config/load.ts";
import { Releasers } from "../../pool/releasers.ts";
import { bounds, effectOf, effectText } from "../../pool/sizing/background/effect.ts";
import { NoHistoryError, ownHistory, setting } from "../../pool/sizing/replay/setting.ts";
import { openStoreForReading } from "../../pool/store/reading.ts";
import type { Store } from "../../pool/store/store.ts";
import { storeFile } from "../../pool/store/store-file.ts";
import { env, example } from "../config/example.ts";
import { storeWithHistory } from "./replay/own-history.ts";

const now = Date.parse("2026-11-20T00:00:00Z");
const adaptive = "min_ready: 0\n    sizing: { policy: adaptive, target_hit_share: 0.9 }";

describe("what a configuration means", () => {
  let dir: string;
  let store: Store | null;
  const source = (pool = "min_ready: 3") =>
    parseSource(
      example.replace("/tmp/clawpool-test", dir).replace("min_ready: 3", pool),
      join(dir, "clawpool.yaml"),
      env,
    );
  const poolOf = (text: string): PoolConfig => source(text).config.pools[0] ?? assert.fail();
  const live = (options: { count: number; days: number }) => {
    store = storeWithHistory(storeFile(dir), { ...options, until: now });
    return openStoreForReading(storeFile(dir));
  };

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-effect-"));
    store = null;
  });
  afterEach(() => {
    store?.close();
    rmSync(dir, { recursive: true });
  });

  it("bounds what each policy may keep, campaigns and floors included", () => {
    const of = (sizing: string, min = 1) => {
      const { least, most } = bounds(poolOf(`min_ready: ${min}\n    max_ready: 8\n    sizing: ${sizing}`));
      return [least, most];
    };
    const campaign =
      "campaigns: [{ name: a, from: 2026-12-01T00:00:00Z, until: 2026-12-02T00:00:00Z, add: 2 }]";
    assert.deepEqual(of("{}"), [1, 1]);
    assert.deepEqual(of("{ ready: 4 }"), [4, 4]);
    assert.deepEqual(of(`{ ready: 4, ${campaign} }`), [4, 6]);
    assert.deepEqual(of(`{ ready: 7, ${campaign} }`), [7, 8]);
    assert.deepEqual(of("{ floors: [{ cron: '0 8 * * *', for: 1h, ready: 5 }] }"), [1, 5]);
    assert.deepEqual(of("{ policy: schedule, windows: [{ cron: '0 8 * * *', for: 1h, ready: 5 }] }"), [1, 5]);
    assert.deepEqual(of("{ policy: factor, scale: 1, at_most: 6 }"), [1, 6]);
    assert.deepEqual(of("{ policy: factor, scale: 1 }", 0), [0, 8]);
    assert.deepEqual(of("{ policy: adaptive, target_hit_share: 0.9 }"), [1, 8]);
  });

  it("is in machines and money of the pools that change, and in what own history would have come to", () => {
    const reader = live({ count: 60, days: 20 });
    try {
      const [effect, ...others] = effectOf(source().config, source(adaptive).config, reader, now);
      assert.equal(others.length, 0);
      assert.deepEqual([effect?.before?.least, effect?.after?.most], [3, 10]);
      assert.ok(Math.abs((effect?.before?.leastCost ?? 0) - 3 * 0.008 * 730) < 1e-9);
      assert.ok((effect?.before?.expected?.hitShare ?? 0) > 0.99);
      assert.ok((effect?.after?.expected?.claims ?? 0) > 20);
      const text = effectText(effect ?? assert.fail());
      assert.match(
        text,
        /^small-eu: static 3 → adaptive for 90 %; 3 → 0 to 10 machines to keep, EUR 17\.52 → 0\.00 to 58\.40 a month; by own history EUR \d+\.\d\d at a hit share of 100 % \(\d+ claims\) → EUR/,
      );
    } finally {
      reader.close();
    }
  });

  it("is nothing where no pool's size changes, and leaves history out where it says too little", () => {
    const logged = parseSource(`${example}\nrelease_grace: 1h`, "clawpool.yaml", env);
    assert.deepEqual(
      effectOf(parseSource(example, "clawpool.yaml", env).config, logged.config, null, now),
      [],
    );
    const reader = live({ count: 10, days: 20 });
    try {
      const [effect] = effectOf(source().config, source("min_ready: 5").config, reader, now);
      assert.equal(effect?.after?.expected, null);
      assert.match(effectText(effect ?? assert.fail()), /EUR 17\.52 → 29\.20 a month$/);
    } finally {
      reader.close();
    }
  });

  it("says that a price is unknown instead of a number", () => {
    const [effect] = effectOf(null, source().config, null, now);
    assert.equal(
      effectText(effect ?? assert.fail()),
      "small-eu: none → static 3; none → 3 machines to keep, price unknown",
    );
  });

  it("takes own payments of the pool as history, with the lead time and the caps of now", () => {
    const reader = live({ count: 30, days: 10 });
    try {
      const { config } = source();
      const pool = poolOf("min_ready: 3");
      const trace = ownHistory(reader, config, pool, { since: now - 86_400_000 * 5, now });
      assert.deepEqual([trace.claims.length, trace.to], [15, now]);
      const { experiment, currency, notes } = setting(pool, config, trace, reader, null);
      assert.deepEqual(experiment.lead, { planMs: 240_000, builds: [{ ms: 240_000, failed: false }] });
      assert.equal(currency, "EUR");
      // The one machine is a customer's.
      assert.equal(experiment.rules.maxTotal, 9);
      assert.equal(notes.length, 2);
      assert.deepEqual(setting(pool, config, trace, reader, 60_000).experiment.lead, {
        planMs: 60_000,
        builds: [],
      });
      assert.throws(
        () => ownHistory(reader, config, pool, { since: now - 1_000, now }),
        (error) =>
          error instanceof NoHistoryError &&
          /pool small-eu has no payment since .*--history.*--trace/.test(error.message),
      );
    } finally {
      reader.close();
    }
  });

  it("is told when a running daemon applies it: its bounds at once, own history when it was replayed", async () => {
    live({ count: 60, days: 20 }).close();
    const releasers = new Releasers();
    const quiet = pino({ level: "silent" });
    const told = new EventTarget();
    const watched: Store = {
      ...(store ?? assert.fail()),
      audit: (actor, action, subject, facts) => {
        store?.audit(actor, action, subject, facts);
        told.dispatchEvent(new Event(action));
      },
    };
    let pokes = 0;
    const context = { store: watched, log: quiet, poke: () => pokes++ };
    const listener = noteChanges({ ...context, clock: { ...systemClock, now: () => now } }, releasers);
    const [before, after] = [source(), source(adaptive)];
    const expected = once(told, "config.expected");
    listener.applied({
      ...{ before, source: after, actor: "person:ada", how: "apply" },
      change: configChange(before.file, after.file),
    });
    assert.equal(pokes, 1);
    const rows = () => store?.auditRows({ subject: "configuration" }) ?? [];
    const applied = rows().at(-1);
    assert.equal(applied?.action, "config.applied");
    assert.match(String(applied?.detail.effect), /small-eu: static 3 → adaptive for 90 %/);
    await expected;
    assert.match(String(rows().at(-1)?.detail.texts), /by own history EUR/);
    await releasers.release(quiet);
  });
});

/** The unit's own numbers, the loop and the watchdog's food, in simulated time, with systemd played by its manual. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { pino } from "pino";
import type { Clock } from "../../pool/clock.ts";
import { createLoop } from "../../pool/loop.ts";
import { standstill } from "../../pool/observe/watchdog.ts";
import { VirtualClock } from "../virtual-clock.ts";

const unit = readFileSync(new URL("../../deploy/clawpool.service", import.meta.url), "utf8");
const seconds = (key: string): number => {
  const value = new RegExp(`^${key}=(\\d+)$`, "m").exec(unit)?.[1];
  assert(value, `the unit has no ${key} in seconds`);
  return Number(value) * 1_000;
};
/** From the process to READY=1, on a loaded host. */
const startMs = 10_000;
const never = new Promise<never>(() => {});

/** One life of the daemon: its loop, and the timer that feeds the watchdog. */
class Life {
  fedAt: number;
  hung = false;
  dead = false;
  storeIsFull = false;

  constructor(clock: VirtualClock) {
    this.fedAt = clock.now();
    const own: Clock = {
      now: () => clock.now(),
      delay: async (ms, signal) => {
        await clock.delay(ms, signal);
        if (this.hung || this.dead) await never;
      },
    };
    const log = pino({ level: "silent" });
    const afterRound = () => {};
    const reconcile = async () => ({ againInMs: 60_000 });
    const loop = createLoop({
      clock: own,
      log,
      live: () => [],
      maxParallelBuilds: () => 1,
      afterRound,
      reconcile,
    });
    loop.start();
    const write = () => {
      if (this.storeIsFull) throw new Error("database or disk is full");
    };
    const feed = async () => {
      for (;;) {
        await own.delay(seconds("WatchdogSec") / 3);
        const why = standstill({ ...loop.progress(), minuteSince: null }, clock.now(), write);
        if (why === null) this.fedAt = clock.now();
      }
    };
    void feed();
  }
}

describe("a daemon under its unit", () => {
  for (const [what, strike] of [
    ["killed", (life: Life) => Object.assign(life, { dead: true })],
    ["hung in its event loop", (life: Life) => Object.assign(life, { hung: true })],
    ["unable to write its store", (life: Life) => Object.assign(life, { storeIsFull: true })],
  ] as const) {
    it(`is replaced within 40 s when it is ${what}, whenever that is`, async () => {
      for (let after = 60_000; after < 80_000; after += 1_700) {
        const clock = new VirtualClock();
        const life = new Life(clock);
        await clock.advance(after);
        assert(clock.now() - life.fedAt < seconds("WatchdogSec"), "it is fed while it is well");
        const struckAt = clock.now();
        strike(life);
        while (!life.dead && clock.now() - life.fedAt < seconds("WatchdogSec")) await clock.advance(100);
        await clock.advance(seconds("RestartSec") + startMs);
        const outage = clock.now() - struckAt;
        assert(outage <= 40_000, `${outage} ms`);
      }
    });
  }

  it("is always started again, except where only a person can help", () => {
    assert.match(unit, /^Restart=always$/m);
    assert.match(unit, /^StartLimitIntervalSec=0$/m);
    assert.match(unit, /^RestartPreventExitStatus=78$/m);
    assert(seconds("TimeoutStopSec") > 840_000, "a stop has its own bound, which must come first");
  });
});

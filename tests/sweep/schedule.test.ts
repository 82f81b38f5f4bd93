/** Sweeps go by themselves: none keeps another from looking, and one that does not do well is told. */
import { strict as assert } from "node:assert";
import { pino } from "pino";
import { createSchedule, type ScheduledSweep, type SweepSchedule } from "../../pool/sweep/schedule.ts";
import { type Life, startLife } from "../machine/fakes.ts";

const minute = 60_000;

describe("the schedule of the sweeps", () => {
  let life: Life;
  let looks: string[];
  let schedule: SweepSchedule | undefined;

  const sweep = (name: string, look: ScheduledSweep["look"], everyMs = minute): ScheduledSweep => ({
    name,
    everyMs: () => everyMs,
    deadlineMs: 5 * minute,
    staleMs: 15 * minute,
    look(signal) {
      looks.push(name);
      return look(signal);
    },
  });
  const start = (...sweeps: ScheduledSweep[]) => {
    const { store, clock } = life;
    schedule = createSchedule({ sweeps, store, clock, log: pino({ level: "silent" }) });
    schedule.start();
    return schedule;
  };
  const count = (name: string) => looks.filter((look) => look === name).length;
  const flags = () => life.store.flags().map(({ kind, subject }) => `${kind} ${subject}`);

  beforeEach(() => {
    life = startLife();
    looks = [];
  });
  afterEach(async () => {
    schedule?.stop();
    await life.clock.advance(0);
    life.store.close();
  });

  it("looks at once, then again and again, each in its own time", async () => {
    start(
      sweep("a", async () => {}),
      sweep("b", async () => {}, 10 * minute),
    );
    await life.clock.advance(30 * minute);
    assert.deepEqual([count("a"), count("b")], [31, 4]);
  });

  it("lets neither a failure nor a look that hangs keep another from looking", async () => {
    const signals: AbortSignal[] = [];
    start(
      sweep("fails", async () => assert.fail("503")),
      sweep("hangs", (signal) => {
        signals.push(signal);
        return new Promise(() => {});
      }),
      sweep("well", async () => {}),
    );
    await life.clock.advance(24 * minute);
    assert.deepEqual([count("fails"), count("well")], [25, 25]);
    assert.equal(count("hangs"), 5, "ended at its deadline, begun again after a pause");
    assert.deepEqual(
      signals.map(({ aborted }) => aborted),
      [true, true, true, true, false],
    );
  });

  it("tells when one has not done well for too long, restarts or not, and takes it back", async () => {
    let isBroken = true;
    const look = async () => {
      if (isBroken) throw new Error("503");
    };
    const first = start(
      sweep("a", look),
      sweep("b", async () => {}),
    );
    await life.clock.advance(10 * minute);
    first.raiseAlerts();
    assert.deepEqual(flags(), []);
    first.stop();
    const second = start(
      sweep("a", look),
      sweep("b", async () => {}),
    );
    await life.clock.advance(5 * minute + 1);
    second.raiseAlerts();
    assert.deepEqual(flags(), ["sweep-stale a"]);
    assert.ok((second.ages().get("a") ?? 0) > 15 * minute);
    assert.ok((second.ages().get("b") ?? 0) <= minute);
    isBroken = false;
    await life.clock.advance(minute);
    second.raiseAlerts();
    assert.deepEqual(flags(), []);
  });

  it("counts a look that says itself that it did not do well as none", async () => {
    start(sweep("a", async () => false)).raiseAlerts();
    await life.clock.advance(16 * minute);
    schedule?.raiseAlerts();
    assert.deepEqual(flags(), ["sweep-stale a"]);
  });

  it("ends what is under way when it is stopped, and begins nothing more", async () => {
    let aborted = false;
    const schedule = start(
      sweep("a", (signal) => {
        signal.addEventListener("abort", () => {
          aborted = true;
        });
        return new Promise(() => {});
      }),
    );
    await life.clock.advance(minute);
    schedule.stop();
    await life.clock.advance(60 * minute);
    assert.deepEqual([aborted, count("a")], [true, 1]);
  });
});

import { strict as assert } from "node:assert";
import { newOrder } from "../store/rows.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { emptyStore } from "./database.ts";
import { Incarnation, Killed } from "./incarnation.ts";

/** A border such as nobody thought of: what it returns can be asked again. */
function newBorder(effects: string[]) {
  const handle = {
    write: (text: string) => {
      effects.push(text);
    },
    async *lines() {
      yield "one";
      yield "two";
    },
    done: Promise.resolve("done"),
  };
  return {
    async open() {
      effects.push("open");
      return handle;
    },
    async leftovers() {
      return [{ name: "left", ended: Promise.resolve() }];
    },
  };
}

describe("the points at which a simulated daemon can die", () => {
  const clock = new VirtualClock();
  const live = (killAt: number | null = null) =>
    new Incarnation(
      clock,
      killAt,
      () => {},
      () => {},
    );

  async function use(life: Incarnation, effects: string[]): Promise<void> {
    const border = life.border(newBorder(effects));
    const handle = await border.open();
    handle.write("written");
    for await (const line of handle.lines()) effects.push(line);
    effects.push(await handle.done);
    for (const { ended } of await border.leftovers()) await ended;
    effects.push("end");
  }

  it("are before and behind each call of a border, and of whatever the border returned", async () => {
    const effects: string[] = [];
    const life = live();
    await use(life, effects);
    assert.deepEqual(effects, ["open", "written", "one", "two", "done", "end"]);
    // open, write, lines, its iterator, next three times, leftovers: two each. What comes without a call is only behind.
    assert.equal(life.points, 2 * 8 + 2);
  });

  it("each end everything behind it", async () => {
    const before: number[] = [];
    for (let point = 1; point <= 18; point++) {
      const effects: string[] = [];
      const life = live(point);
      const used = use(life, effects).catch((error: unknown) => assert(error instanceof Killed));
      await Promise.race([used, life.died]);
      await new Promise(setImmediate);
      assert(life.dead && !effects.includes("end"), `at ${point}: ${effects}`);
      before.push(effects.length);
    }
    assert.deepEqual(before, [...before].sort());
    assert.equal(before[0], 0);
  });

  it("are before and behind each transaction, of whichever verb", () => {
    const store = emptyStore(clock);
    const killed = (killAt: number | null, work: (store: ReturnType<Incarnation["store"]>) => void) => {
      const life = live(killAt);
      try {
        work(life.store(store));
      } catch (error) {
        assert(error instanceof Killed);
      }
      return life;
    };
    const order = newOrder("ord_1");
    assert.equal(killed(1, (verbs) => verbs.createOrder(order)).dead, true);
    assert.equal(store.order(order.id), null);
    assert.equal(killed(2, (verbs) => verbs.createOrder(order)).dead, true);
    assert.equal(store.order(order.id)?.state, "awaiting-payment");
    const reads = killed(null, (verbs) => {
      verbs.orders();
      verbs.machines({ live: true });
    });
    assert.equal(reads.points, 0);
    const dead = killed(1, (verbs) => verbs.putSetting("a", "b"));
    assert.throws(() => dead.store(store).orders(), Killed);
    store.close();
  });
});

import { strict as assert } from "node:assert";
import { pino } from "pino";
import { createLoop, type Loop } from "../pool/loop.ts";
import type { Machine, MachineName, MachineState } from "../pool/machine/machine.ts";
import type { Next } from "../pool/machine/stage.ts";
import { settled, VirtualClock } from "./virtual-clock.ts";

const log = pino({ level: "silent" });

interface Look {
  readonly name: string;
  readonly signal: AbortSignal;
  finish(againInMs: number): Promise<void>;
}

describe("the loop", () => {
  let clock: VirtualClock;
  let machines: Map<string, Machine>;
  let looks: Look[];
  let loop: Loop;
  let rounds: number;
  let builds: number;

  const put = (name: string, state: MachineState, change: Partial<Machine> = {}): void => {
    const machine = { name, state, nextLookAt: 0, deadline: null, ...change };
    machines.set(name, machine as unknown as Machine);
  };
  const names = () => looks.map((look) => look.name);

  beforeEach(() => {
    clock = new VirtualClock();
    machines = new Map();
    looks = [];
    rounds = 0;
    builds = 2;
    loop = createLoop({
      clock,
      log,
      live: () => [...machines.values()],
      maxParallelBuilds: () => builds,
      afterRound: () => {
        rounds++;
      },
      reconcile: (name, signal) =>
        new Promise<Next>((resolve) => {
          looks.push({
            name,
            signal,
            finish: async (againInMs) => {
              looks = looks.filter((look) => look.name !== name || look.signal !== signal);
              resolve({ againInMs });
              await settled();
            },
          });
        }),
    });
  });
  afterEach(async () => {
    const stopped = loop.stop();
    await settled();
    for (const look of [...looks]) await look.finish(1_000_000);
    await stopped;
    assert.equal(clock.waiting, 0, "the loop left a timer behind");
  });

  const look = (name: string): Look => {
    const found = looks.find((candidate) => candidate.name === name);
    assert(found, `${name} is not being looked at`);
    return found;
  };

  it("looks at each due machine, one look at a time for each", async () => {
    put("m-1", "serving");
    put("m-2", "serving");
    loop.start();
    await settled();
    assert.deepEqual(names(), ["m-1", "m-2"]);
    loop.poke("m-1" as MachineName);
    await settled();
    assert.deepEqual(names(), ["m-1", "m-2"]);
  });

  it("looks again when the stage said so, not before", async () => {
    put("m-1", "serving");
    loop.start();
    await settled();
    await look("m-1").finish(3_000);
    assert.deepEqual(names(), []);
    await clock.advance(2_999);
    assert.deepEqual(names(), []);
    await clock.advance(1);
    assert.deepEqual(names(), ["m-1"]);
  });

  it("remembers a poke that came during a look", async () => {
    put("m-1", "ready");
    loop.start();
    await settled();
    loop.poke("m-1" as MachineName);
    await look("m-1").finish(60_000);
    assert.deepEqual(names(), ["m-1"]);
  });

  it("holds back builds beyond the limit, but never a hand-over or an end", async () => {
    for (const name of ["b-1", "b-2", "b-3"]) put(name, "preparing");
    put("h-1", "claimed");
    put("d-1", "releasing");
    loop.start();
    await settled();
    assert.deepEqual(names().sort(), ["b-1", "b-2", "d-1", "h-1"]);
    await look("b-1").finish(60_000);
    assert(names().includes("b-3"));
  });

  it("respects the row's own time after a restart, when nothing else is remembered", async () => {
    put("m-1", "creating", { nextLookAt: clock.now() + 4_000 });
    loop.start();
    await settled();
    assert.deepEqual(names(), []);
    await clock.advance(4_000);
    assert.deepEqual(names(), ["m-1"]);
  });

  it("tells a look to end at the machine's deadline", async () => {
    put("m-1", "preparing", { deadline: clock.now() + 1_000 });
    loop.start();
    await settled();
    assert.equal(look("m-1").signal.aborted, false);
    await clock.advance(1_000);
    assert.equal(look("m-1").signal.aborted, true);
  });

  it("does not look at a machine that a person holds, and gives none away that it works on", async () => {
    put("m-1", "ready");
    put("m-2", "ready");
    const release = loop.hold("m-1" as MachineName);
    assert(release);
    loop.start();
    await settled();
    assert.deepEqual(names(), ["m-2"]);
    assert.equal(loop.hold("m-2" as MachineName), null);
    assert.equal(loop.hold("m-1" as MachineName), null, "held twice");
    release();
    await settled();
    assert.deepEqual(names().sort(), ["m-1", "m-2"]);
  });

  it("runs the refill after each round and again at every heartbeat", async () => {
    loop.start();
    await settled();
    assert.equal(rounds, 1);
    await clock.advance(5_000);
    assert.equal(rounds, 2);
  });

  it("stops taking work and waits for what is in flight", async () => {
    put("m-1", "handing-over");
    loop.start();
    await settled();
    let stopped = false;
    const stopping = loop.stop({ abort: true }).then(() => {
      stopped = true;
    });
    await settled();
    assert.equal(stopped, false);
    assert.equal(look("m-1").signal.aborted, true);
    await look("m-1").finish(0);
    await stopping;
    assert.deepEqual(names(), []);
  });
});

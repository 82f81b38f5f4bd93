import { strict as assert } from "node:assert";
import { createPolls } from "../../pool/cloud/gate/polls.ts";
import { type ActionShape, actionShape } from "../../pool/cloud/shapes.ts";
import type { Answer, Call, Sent, Wire } from "../../pool/cloud/wire.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { shapes } from "./upstream.ts";

const second = 1_000;

/** Hetzner's actions on a virtual clock, and every look at them. */
function cloud(answerWith?: (call: Call, usual: Sent) => Sent) {
  const clock = new VirtualClock();
  const ends = new Map<number, { command: string; born: number; end: number }>();
  const looks: { at: number; ids: number[] }[] = [];
  const stamp = (at: number) => new Date(Math.floor(at / second) * second).toISOString();
  function show(id: number): ActionShape {
    const known = ends.get(id);
    assert.ok(known);
    const done = clock.now() >= known.end;
    return actionShape.parse({
      ...shapes.action,
      id,
      command: known.command,
      status: done ? "success" : "running",
      started: stamp(known.born),
      finished: done ? stamp(known.end) : null,
      resources: [{ id: 42, type: "server" }],
    });
  }
  const wire: Wire = {
    async send(call) {
      const ids = new URL(call.path, "http://x").searchParams.getAll("id").map(Number);
      looks.push({ at: clock.now(), ids });
      const actions = ids.filter((id) => ends.has(id)).map(show);
      const usual = answerOf(200, { actions });
      return answerWith?.(call, usual) ?? usual;
    },
  };
  const polls = createPolls({ clock, minPollMs: second, deadlineMs: 90 * second });
  const asker = { wire, priority: "refill" } as const;
  return {
    clock,
    looks,
    polls,
    asker,
    order(id: number, command: string, ms: number): void {
      ends.set(id, { command, born: clock.now(), end: clock.now() + ms });
      polls.ingest([show(id)]);
    },
    put: (id: number, command: string, ms: number) =>
      void ends.set(id, { command, born: clock.now(), end: clock.now() + ms }),
    /** Asks every 200 ms as terraform does; how long it took until success. */
    async wait(id: number): Promise<number> {
      const start = clock.now();
      for (;;) {
        await clock.delay(200);
        const reply = await polls.ask([id], false, asker);
        if (reply.status !== 200) throw new Error(`${reply.status} ${reply.body}`);
        const [action] = JSON.parse(reply.body).actions as { status: string }[];
        if (!action) throw new Error("actions not found");
        if (action.status === "success") return clock.now() - start;
      }
    },
  };
}

function answerOf(status: number, value: unknown): Answer {
  return {
    kind: "answer",
    status,
    contentType: "application/json",
    correlationId: null,
    retryAfterMs: null,
    body: JSON.stringify(value),
  };
}

describe("batched polls", () => {
  it("look once a second at most, for all runs together", async () => {
    const { clock, looks, order, wait } = cloud();
    for (let id = 1; id <= 10; id++) order(id, "create_server", 12 * second + id * 50);
    await clock.until(Promise.all([...Array(10).keys()].map((n) => wait(n + 1))));
    const gaps = looks.slice(1).map((look, n) => look.at - (looks[n]?.at ?? 0));
    assert.ok(
      gaps.every((gap) => gap >= second),
      `gaps of ${gaps} ms`,
    );
    assert.ok(looks.length <= 13, `${looks.length} looks`);
    assert.ok(looks.every((look) => look.ids.length >= 1));
    assert.equal(looks[0]?.ids.length, 10);
  });

  it("learn how long a command takes, and look first when it could be done", async () => {
    const { clock, looks, order, wait } = cloud();
    const needed: { looks: number; late: number }[] = [];
    for (let id = 1; id <= 8; id++) {
      const before = looks.length;
      order(id, "create_server", 12_700);
      const took = await clock.until(wait(id));
      needed.push({ looks: looks.length - before, late: took - 12_700 });
      await clock.advance(20 * second);
    }
    const [first, ...later] = needed;
    assert.ok(first && first.looks >= 5, JSON.stringify(needed));
    assert.ok(
      later.slice(2).every((each) => each.looks <= 3 && each.late <= 1_300),
      JSON.stringify(needed),
    );
  });

  it("answer finished actions from memory", async () => {
    const { clock, looks, order, wait, polls, asker } = cloud();
    order(1, "create_server", 3 * second);
    await clock.until(wait(1));
    const before = looks.length;
    const reply = await clock.until(polls.ask([1], true, asker));
    assert.equal(JSON.parse(reply.body).action.status, "success");
    assert.equal(looks.length, before);
  });

  it("ask Hetzner for an action that they have never heard of, and hand on that it does not exist", async () => {
    const { clock, polls, asker, put, looks } = cloud();
    put(5, "create_server", 0);
    const known = await clock.until(polls.ask([5, 6], false, asker));
    assert.deepEqual(
      (JSON.parse(known.body).actions as { id: number }[]).map((action) => action.id),
      [5],
    );
    assert.deepEqual(looks[0]?.ids, [5, 6]);
    const single = await clock.until(polls.ask([6], true, asker));
    assert.equal(single.status, 404);
  });

  it("hide failed looks for the whole deadline, then say so with 503", async () => {
    let broken = true;
    const { clock, order, wait, polls, asker } = cloud((_call, usual) =>
      broken ? answerOf(503, { error: { code: "unavailable", message: "", details: null } }) : usual,
    );
    order(1, "create_server", 3 * second);
    const first = wait(1);
    await clock.advance(60 * second);
    broken = false;
    await clock.until(first);

    broken = true;
    order(2, "create_server", 3 * second);
    const started = clock.now();
    await assert.rejects(clock.until(wait(2)), /503 .*no word of action 2/);
    assert.ok(clock.now() - started >= 90 * second);
    assert.equal((await clock.until(polls.ask([1], false, asker))).status, 200);
  });

  it("wait for an action that Hetzner's list has lost for a moment", async () => {
    let hidden = 3;
    const { clock, order, wait } = cloud((_call, usual) =>
      hidden-- > 0 ? answerOf(200, { actions: [] }) : usual,
    );
    order(1, "create_server", 3 * second);
    assert.ok((await clock.until(wait(1))) >= 3 * second);
  });

  it("stop looking when nobody asks any more", async () => {
    const { clock, looks, order, polls, asker } = cloud();
    order(1, "create_server", 3_600 * second);
    await clock.until(polls.ask([1], false, asker));
    await clock.advance(30 * second);
    const quiet = looks.length;
    await clock.advance(600 * second);
    assert.equal(looks.length, quiet);
    assert.ok(quiet > 0);
    assert.equal(polls.busy(42), true);
    assert.equal(polls.busy(43), false);
  });

  it("answer everybody who waits when they are closed", async () => {
    const { clock, polls, asker } = cloud(() => ({ kind: "lost", reason: "cut" }));
    const waiting = polls.ask([1], false, asker);
    await clock.advance(5 * second);
    polls.close();
    assert.equal((await waiting).status, 503);
  });
});

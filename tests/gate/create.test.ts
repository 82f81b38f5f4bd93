/** The lost order, try by try, on a virtual clock. */
import { strict as assert } from "node:assert";
import { type CreateContext, createServer } from "../../pool/cloud/gate/create.ts";
import { type Answer, json, type Sent } from "../../pool/cloud/wire.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { shapes } from "./upstream.ts";

const order = { name: "claw-a", labels: { pool: "small" } };
const server = { ...shapes.server, id: 77, name: "claw-a", labels: { pool: "small", more: "1" } };
const create = { ...shapes.action, id: 5, command: "create_server" };
const start = { ...shapes.action, id: 6, command: "start_server" };
const lost: Sent = { kind: "lost", reason: "cut" };

function ok(value: unknown, status = 200): Answer {
  return {
    kind: "answer",
    status,
    contentType: "application/json",
    correlationId: null,
    retryAfterMs: null,
    body: JSON.stringify(value),
  };
}
const taken = ok({ error: { code: "uniqueness_error", message: "taken", details: null } }, 409);

/** Answers in the given order by kind of call; the last one of a kind is repeated. */
function script(answers: { post: Sent[]; list?: Sent[]; actions?: Sent[] }) {
  const clock = new VirtualClock();
  const calls: string[] = [];
  const recorded: number[] = [];
  let inFlight = 0;
  const next = (list: Sent[] | undefined): Sent => {
    const sent = list && list.length > 1 ? list.shift() : list?.[0];
    assert.ok(sent, "an unexpected call");
    return sent;
  };
  const until = clock.now() + 90_000;
  const context: CreateContext = {
    clock,
    deadline: () => until,
    priority: "refill",
    record: (id) => void recorded.push(id),
    repaired: () => {},
    wire: {
      async send(call) {
        calls.push(`${call.method} ${call.path}`);
        if (call.method === "POST") {
          assert.equal(inFlight++, 0, "two orders in flight");
          await clock.delay(100);
          inFlight--;
          return next(answers.post);
        }
        return next(call.path.includes("/actions") ? answers.actions : answers.list);
      },
    },
  };
  const body = JSON.stringify(order);
  return { clock, calls, recorded, run: () => clock.until(createServer(order, body, context)) };
}

describe("POST /servers through the gate", () => {
  it("writes the id down before it answers", async () => {
    const { run, recorded } = script({ post: [ok({ server, action: create, next_actions: [start] }, 201)] });
    assert.equal((await run()).status, 201);
    assert.deepEqual(recorded, [77]);
  });

  it("does not answer when the id could not be written down", async () => {
    const { clock } = script({ post: [] });
    const context: CreateContext = {
      clock,
      deadline: () => clock.now() + 1,
      priority: "refill",
      record: () => {
        throw new Error("disk full");
      },
      repaired: () => {},
      wire: { send: async () => ok({ server }, 201) },
    };
    await assert.rejects(createServer(order, "{}", context), /disk full/);
  });

  it("puts a lost answer together again: server, its action, its start, no password", async () => {
    const { run, recorded } = script({
      post: [lost],
      list: [ok({ servers: [server] })],
      actions: [ok({ actions: [start, create] })],
    });
    const reply = await run();
    assert.equal(reply.status, 201);
    const value = json(reply) as Record<string, unknown>;
    assert.deepEqual(value.server, server);
    assert.equal((value.action as { id: number }).id, 5);
    assert.deepEqual(
      (value.next_actions as { id: number }[]).map((action) => action.id),
      [6],
    );
    assert.equal(value.root_password, null);
    assert.deepEqual(recorded, [77]);
  });

  it("finds a server that appears only after the second try was refused", async () => {
    const { run, calls } = script({
      post: [lost, taken],
      list: [ok({ servers: [] }), ok({ servers: [server] })],
      actions: [ok({ actions: [create, start] })],
    });
    assert.equal((await run()).status, 201);
    assert.equal(calls.filter((call) => call.startsWith("POST")).length, 2);
  });

  it("waits for the action to be listed", async () => {
    const { run, recorded } = script({
      post: [lost],
      list: [ok({ servers: [server] })],
      actions: [ok({ actions: [] }), ok({ error: {} }, 503), ok({ actions: [create] })],
    });
    const reply = await run();
    assert.deepEqual((json(reply) as { next_actions: unknown[] }).next_actions, []);
    assert.deepEqual(recorded, [77]);
  });

  it("gives up at the deadline with an error that the provider does not repeat", async () => {
    const { run, recorded, clock } = script({ post: [lost], list: [ok({ servers: [] })] });
    const started = clock.now();
    const reply = await run();
    assert.equal(reply.status, 503);
    assert.match(reply.body, /claw-a may exist/);
    assert.ok(clock.now() - started <= 91_000);
    assert.deepEqual(recorded, []);
  });

  it("says so when nobody would say whether it exists, and orders no second one", async () => {
    const { run, calls } = script({ post: [lost], list: [ok({}, 503)] });
    assert.equal((await run()).status, 503);
    assert.equal(calls.filter((call) => call.startsWith("POST")).length, 1);
  });

  it("sends nothing when there is no budget before the deadline", async () => {
    const { run } = script({ post: [{ kind: "unsent", reason: "no API budget before the deadline" }] });
    assert.match((await run()).body, /no API budget/);
  });

  for (const { title, labels, mine } of [
    { title: "other labels", labels: { pool: "large" }, mine: false },
    { title: "no labels", labels: {}, mine: false },
    { title: "our labels and more", labels: { pool: "small", x: "y" }, mine: true },
  ]) {
    it(`takes a taken name for ours by its labels: ${title}`, async () => {
      const { run, recorded } = script({
        post: [taken],
        list: [ok({ servers: [{ ...server, labels }] })],
        actions: [ok({ actions: [create] })],
      });
      assert.equal((await run()).status, mine ? 201 : 409);
      assert.equal(recorded.length, mine ? 1 : 0);
    });
  }
});

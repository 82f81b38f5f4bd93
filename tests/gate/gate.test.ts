/** What the gate is as an HTTP server: tokens, limits, memory, closing. */
import { strict as assert } from "node:assert";
import { apply, call, destroy } from "./provider.ts";
import { type Rig, type RigOptions, startRig } from "./rig.ts";

describe("the gate", () => {
  let rig: Rig;
  const start = async (options: RigOptions = {}) => {
    rig = await startRig({ rows: { "claw-a": {} }, ...options });
  };
  afterEach(() => rig.close());
  const upstreamCalls = (prefix: string) =>
    rig.upstream.calls.filter((each) => `${each.method} ${each.path}`.startsWith(prefix)).length;

  it("answers 401 in Hetzner's envelope to a token it does not know, and to one whose run is closed", async () => {
    await start();
    const run = rig.openRun("claw-a");
    run.close();
    const bare = { endpoint: rig.gate.endpoint, token: rig.bare.token };
    for (const access of [run, bare]) {
      const got = await call(access, "GET", "/servers");
      assert.equal(got.status, 401);
      assert.deepEqual(got.value, {
        error: {
          code: "unauthorized",
          message: "the token you have provided is invalid",
          details: null,
        },
      });
    }
    assert.equal(rig.upstream.calls.length, 0);
  });

  for (const [method, path, body] of [
    ["POST", "/servers", { name: "claw-b" }],
    ["POST", "/servers", { labels: {} }],
    ["PUT", "/servers/12", { labels: {} }],
    ["DELETE", "/servers/12", undefined],
    ["POST", "/servers/12/actions/reset_password", {}],
    ["POST", "/volumes", { name: "x" }],
    ["DELETE", "/ssh_keys/3", undefined],
    ["PATCH", "/servers/12", {}],
    ["DELETE", "/servers%2F12", undefined],
    ["DELETE", "/servers//12", undefined],
    ["DELETE", "/servers/12?force=1", undefined],
    ["POST", "/../v1/servers", { name: "claw-b" }],
  ] as const) {
    it(`refuses ${method} ${path} ${JSON.stringify(body) ?? ""} and writes it down`, async () => {
      await start();
      const got = await call(rig.openRun("claw-a"), method, path, body);
      assert.ok(got.status === 403 || got.status === 423, `${got.status}`);
      assert.deepEqual(Object.keys(got.value.error as object), ["code", "message", "details"]);
      assert.equal(rig.ledger.refusals.length, 1);
      assert.equal(rig.upstream.calls.length, 0);
    });
  }

  it("sends nothing that changes anything once another daemon has taken over, and still lets look", async () => {
    await start({ rows: { "claw-a": { state: "creating" } } });
    const run = rig.openRun("claw-a");
    const { id } = await apply(run, "claw-a");
    rig.ledger.rows.set("claw-a", { state: "retiring", serverId: id, order: null, mayDestroy: true });
    const before = rig.upstream.calls.length;
    rig.ledger.leading = false;
    for (const [method, path, body] of [
      ["DELETE", `/servers/${id}`, undefined],
      ["PUT", `/servers/${id}`, { labels: {} }],
    ] as const) {
      const got = await call(run, method, path, body);
      assert.equal(got.status, 503, method);
      assert.match(JSON.stringify(got.value), /another daemon has taken over/);
    }
    assert.equal(rig.upstream.calls.length, before);
    assert.equal((await call(run, "GET", `/servers/${id}`)).status, 200);
  });

  it("refuses a body longer than 256 KiB", async () => {
    await start();
    const got = await call(rig.openRun("claw-a"), "POST", "/servers", {
      name: "claw-a",
      user_data: "x".repeat(300 * 1024),
    });
    assert.equal(got.status, 413);
    assert.equal(rig.upstream.calls.length, 0);
  });

  it("makes one server for two orders of the same name at once, and refuses the second", async () => {
    await start();
    const run = rig.openRun("claw-a");
    const order = { name: "claw-a", labels: { a: "b" } };
    const [one, two] = await Promise.all([
      call(run, "POST", "/servers", order),
      call(run, "POST", "/servers", order),
    ]);
    assert.deepEqual([one.status, two.status].sort(), [201, 403]);
    assert.equal(rig.upstream.servers().length, 1);
    assert.equal(upstreamCalls("POST"), 1);
  });

  it("asks for the catalogue once for ten runs, and again after a refused order", async () => {
    const names = [...Array(10).keys()].map((n) => `claw-${n}`);
    await start({ rows: Object.fromEntries(names.map((name) => [name, {}])) });
    await Promise.all(names.map((name) => apply(rig.openRun(name), name)));
    assert.equal(rig.upstream.servers().length, 10);
    for (const path of ["/server_types", "/images", "/ssh_keys"]) {
      assert.equal(upstreamCalls(`GET ${path}`), 1, path);
    }
    rig.ledger.rows.set("claw-x", { state: "creating", serverId: null, order: null, mayDestroy: false });
    rig.upstream.fail("POST /servers", {
      status: 412,
      body: { error: { code: "resource_unavailable", message: "error during placement", details: null } },
    });
    await apply(rig.openRun("claw-x"), "claw-x");
    await apply(rig.openRun("claw-x"), "claw-x");
    assert.equal(upstreamCalls("GET /server_types"), 2);
  });

  it("reads a quiet server once for refresh, plan and update, and never keeps one in which something moves", async () => {
    await start();
    const run = rig.openRun("claw-a");
    const { id } = await apply(run, "claw-a");
    const before = upstreamCalls(`GET /servers/${id}`);
    await call(run, "GET", `/servers/${id}`);
    await call(run, "GET", `/servers/${id}`);
    await call(run, "PUT", `/servers/${id}`, { labels: { claimed: "true" } });
    const after = await call(run, "GET", `/servers/${id}`);
    assert.deepEqual((after.value.server as { labels: unknown }).labels, { claimed: "true" });
    assert.ok(upstreamCalls(`GET /servers/${id}`) - before <= 1);
    rig.ledger.rows.set("claw-a", { state: "retiring", serverId: id, order: null, mayDestroy: true });
    await call(run, "DELETE", `/servers/${id}`);
    assert.equal((await call(run, "GET", `/servers/${id}`)).status, 404);
  });

  for (const [what, status, code, kind] of [
    ["another action runs on the server", 423, "locked", "transient"],
    ["the server changed meanwhile", 409, "conflict", "transient"],
    ["Hetzner refuses", 422, "invalid_input", "permanent"],
  ] as const) {
    it(`says of a shutdown that it was not taken: ${what}`, async () => {
      await start({ rows: { "claw-a": { state: "suspending", serverId: 7, order: "o-1" } } });
      const asked = "POST /servers/7/actions/shutdown";
      rig.upstream.fail(asked, { status, body: { error: { code, message: "no", details: null } } });
      const run = rig.openRun("claw-a", { power: true });
      await assert.rejects(rig.gate.power(run, 7, "shutdown"), { border: "cloud", kind, code });
      assert.equal(upstreamCalls(asked), 1);
      rig.upstream.fail(asked, { status: 201, body: { action: {} } });
      await rig.gate.power(run, 7, "shutdown");
    });
  }

  it("refuses by itself to switch off a server that serves, as a thing that no second try changes", async () => {
    await start({ rows: { "claw-a": { state: "serving", serverId: 7, order: "o-1" } } });
    const run = rig.openRun("claw-a", { power: true });
    await assert.rejects(rig.gate.power(run, 7, "poweroff"), { kind: "permanent" });
    assert.equal(rig.upstream.calls.length, 0);
  });

  it("counts what a run asked and what went on to Hetzner for it", async () => {
    await start();
    const run = rig.openRun("claw-a");
    await apply(run, "claw-a");
    const { upstream, asked } = run.counts();
    assert.equal(upstream, rig.upstream.calls.length);
    assert.ok(asked > upstream);
  });

  it("lets the platform's run make keys and firewalls, and keeps it off servers", async () => {
    await start();
    const run = rig.gate.openRun({ kind: "platform", actor: "test", destroy: false, priority: "person" });
    assert.equal((await call(run, "POST", "/ssh_keys", { name: "k" })).status, 200);
    assert.equal((await call(run, "DELETE", "/ssh_keys/3")).status, 403);
    assert.equal((await call(run, "POST", "/servers", { name: "claw-a" })).status, 403);
    await call(run, "GET", "/ssh_keys/3");
    await call(run, "GET", "/ssh_keys/3");
    assert.equal(upstreamCalls("GET /ssh_keys/3"), 2, "a person's diff sees what is");
  });

  it("does not wait for ever for an order: after the time-out it is looked up and made again", async () => {
    await start({ factor: 100, timing: { writeTimeoutMs: 30_000 } });
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    void rig.upstream.hold("POST /servers", held);
    const outcome = await apply(rig.openRun("claw-a"), "claw-a");
    letGo();
    assert.equal(outcome.state, "created");
    assert.equal(upstreamCalls("POST /servers"), 2);
    assert.match(rig.warnings[0] ?? "", /no answer within 30000 ms/);
    assert.deepEqual(
      rig.upstream.servers().map((server) => server.id),
      [outcome.id],
    );
  });

  it("closed in the middle of an order: the run ends with an error and the ledger knows the id", async () => {
    await start();
    const run = rig.openRun("claw-a");
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const arrived = rig.upstream.hold("POST /servers", held);
    const applying = apply(run, "claw-a");
    await arrived;
    const closing = rig.gate.close();
    letGo();
    const outcome = await applying;
    await closing;
    const [server] = rig.upstream.servers();
    assert.ok(server);
    assert.equal(outcome.state, "tainted");
    assert.equal(rig.ledger.rows.get("claw-a")?.serverId, server.id);
    await assert.rejects(call(run, "GET", "/servers"), /fetch failed/);
  });

  it("ends a destroy's polls with an error when it is closed", async () => {
    await start({ actionMs: { delete_server: 3_600_000 } });
    const { id } = await apply(rig.openRun("claw-a"), "claw-a");
    assert.ok(id);
    rig.ledger.rows.set("claw-a", { state: "retiring", serverId: id, order: null, mayDestroy: true });
    let letGo = () => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const polled = rig.upstream.hold("GET /actions", held);
    const destroying = destroy(rig.openRun("claw-a"), id);
    await polled;
    const closing = rig.gate.close();
    letGo();
    assert.notEqual(await destroying, null);
    await closing;
  });
});

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { assertError, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: transport", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({ requestsPerHour: 20 });
  });
  afterEach(() => rig.close());

  it("wants a token that it knows", async () => {
    const none = await rig.call("GET", "/servers", undefined, null);
    assertError(none, 401, "unauthorized");
    assert.equal(none.body.error.message, "token is required");
    for (const token of ["C".repeat(64), "A".repeat(63), "", "A B"]) {
      assertError(await rig.call("GET", "/servers", undefined, token), 401, "unauthorized");
    }
  });

  it("takes no token of another length at start", async () => {
    await assert.rejects(startRig({ tokens: ["short"] }), /64/);
  });

  const raw = (path: string, init: RequestInit = {}) =>
    fetch(new URL(path, rig.hetzner.endpoint), {
      headers: { Authorization: `Bearer ${rig.hetzner.token}` },
      ...init,
    });

  it("answers unknown routes and methods in the envelope, token or not", async () => {
    for (const [path, method, status, code] of [
      ["/v1/nothing", "GET", 404, "not_found"],
      ["/v1/volumes", "GET", 404, "not_found"],
      ["/servers", "GET", 404, "not_found"],
      ["/v1", "GET", 404, "not_found"],
      ["/v1/servers", "PATCH", 405, "method_not_allowed"],
    ] as const) {
      const response = await raw(path, { method, headers: {} });
      assert.equal(response.status, status, path);
      assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
      const { error } = (await response.json()) as { error: { code: string; details: unknown } };
      assert.deepEqual([error.code, error.details], [code, null]);
    }
  });

  it("answers ids that are none with 404", async () => {
    for (const id of ["x", "0", "-1", "1.5", "99999999999999999999", "%00"]) {
      assertError(await rig.call("GET", `/servers/${id}`), 404, "not_found");
    }
  });

  for (const text of ["{", "[]", "null", '"x"', "5", "", '{"name":"a"', "\u0000"]) {
    it(`refuses the body ${JSON.stringify(text)} as json_error`, async () => {
      assertError(await rig.call("POST", "/servers", text), 400, "json_error");
    });
  }

  it("refuses bytes that are no UTF-8", async () => {
    const response = await raw("/v1/servers", { method: "POST", body: Buffer.from([0x7b, 0xff, 0x7d]) });
    assert.equal(response.status, 400);
  });

  it("refuses a body of 10 MB and goes on serving", async () => {
    const order = { ...serverOrder("m-1"), user_data: "x".repeat(10_000_000) };
    assertError(await rig.call("POST", "/servers", order), 413, "json_error");
    await rig.must("POST", "/servers", serverOrder("m-1"));
  });

  it("serves beside 200 idle connections, and closes them when it closes", async () => {
    const port = Number(new URL(rig.hetzner.endpoint).port);
    const idle: Socket[] = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = connect(port, "127.0.0.1");
        await once(socket, "connect");
        return socket;
      }),
    );
    await rig.must("GET", "/servers");
    const closed = Promise.all(idle.map((socket) => once(socket.resume(), "close")));
    await rig.restart();
    await closed;
  });

  it("counts requests by project, refills a second's worth a second and says so", async () => {
    const first = await rig.call("GET", "/servers");
    assert.equal(first.headers.get("ratelimit-limit"), "20");
    assert.equal(first.headers.get("ratelimit-remaining"), "19");
    const now = rig.clock.now() / 1000;
    assert.equal(Number(first.headers.get("ratelimit-reset")), now + 180);
    for (let index = 0; index < 19; index++) await rig.must("GET", "/servers");
    const refused = await rig.call("GET", "/servers");
    assertError(refused, 429, "rate_limit_exceeded");
    assert.equal(refused.headers.get("ratelimit-remaining"), "0");
    assert.equal((await rig.call("GET", "/servers", undefined, "B".repeat(64))).status, 200);
    await rig.clock.advance(180_000);
    assert.equal((await rig.call("GET", "/servers")).status, 200);
    assertError(await rig.call("GET", "/servers"), 429, "rate_limit_exceeded");
  });

  it("logs every call without token or body, over a restart", async () => {
    await rig.call("POST", "/servers", { name: "_secret_" });
    await rig.call("GET", "/servers?name=a", undefined, null);
    await rig.call("GET", "/servers/5", undefined, "B".repeat(64));
    await rig.restart();
    const calls = rig.hetzner.calls();
    assert.deepEqual(
      calls.map(({ method, path, route, status, project, fault }) => [
        method,
        path,
        route,
        status,
        project,
        fault,
      ]),
      [
        ["POST", "/v1/servers", "/servers", 422, 1, null],
        ["GET", "/v1/servers?name=a", "/servers", 401, null, null],
        ["GET", "/v1/servers/5", "/servers/{id}", 404, 2, null],
      ],
    );
    assert.equal(calls[0]?.time, rig.clock.now());
    assert.equal(calls[0]?.userAgent, "node");
    const served = (await (await raw("/_local/calls")).json()) as unknown;
    assert.deepEqual(served, { calls });
    assert.doesNotMatch(JSON.stringify(served), /_secret_|AAAA|BBBB/);
    assert.equal((await raw("/_local/calls/clear", { method: "POST" })).status, 204);
    assert.deepEqual(rig.hetzner.calls(), []);
  });
});

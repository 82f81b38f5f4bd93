import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { RateLimit } from "./http/rate-limit.ts";
import { assertError, publicKey, type Rig, serverOrder, startRig } from "./rig.ts";

/** All that comes until the other side closes. */
async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

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

  it("takes no token of another length at start, and none twice", async () => {
    const [a, b] = ["A".repeat(64), "B".repeat(64)] as const;
    await assert.rejects(startRig({ tokens: ["short"] }), /64/);
    await assert.rejects(startRig({ tokens: [] }), /64/);
    await assert.rejects(startRig({ tokens: [a, a] }), /one project/);
    await assert.rejects(startRig({ tokens: [a], readOnlyTokens: [a] }), /one project/);
    await assert.rejects(
      startRig({ tokens: [a], readOnlyTokens: [b, "C".repeat(64)] }),
      /without its project/,
    );
  });

  it("lets a read-only token GET, in its project alone", async () => {
    const own = await startRig({ readOnlyTokens: ["R".repeat(64)] });
    const { server } = await own.must("POST", "/servers", serverOrder("m-1"));
    const reader = (method: string, path: string, body?: unknown) =>
      own.call(method, path, body, "R".repeat(64));
    const { servers } = (await reader("GET", "/servers")).body;
    assert.deepEqual(
      servers.map(({ id }) => id),
      [server.id],
    );
    for (const [method, path, body] of [
      ["POST", "/servers", serverOrder("m-2")],
      ["POST", "/servers", "{"],
      ["PUT", `/servers/${server.id}`, { name: "m-3" }],
      ["POST", `/servers/${server.id}/actions/poweroff`, undefined],
      ["DELETE", `/servers/${server.id}`, undefined],
      ["DELETE", "/servers/99", undefined],
    ] as const) {
      assertError(await reader(method, path, body), 401, "token_readonly");
    }
    assert.equal((await own.must("GET", "/servers")).servers[0]?.name, "m-1");
    await own.close();
  });

  it("makes projects at run time that outlive a restart, each with what is its own", async () => {
    const { project, token, readOnlyToken } = rig.hetzner.createProject();
    assert.equal(project, 3);
    assert.match(`${token}${readOnlyToken}`, /^[0-9a-f]{128}$/);
    assert.equal((await rig.call("POST", "/servers", serverOrder("m-1"), token)).status, 201);
    await rig.must("POST", "/servers", serverOrder("m-1"));
    await rig.restart();
    assert.deepEqual(rig.hetzner.projects(), [1, 2, 3]);
    assert.equal((await rig.call("GET", "/servers", undefined, readOnlyToken)).body.servers.length, 1);
    assertError(await rig.call("DELETE", "/servers/1", undefined, readOnlyToken), 401, "token_readonly");
    const posted = await raw("/_local/projects", { method: "POST", headers: {} });
    assert.equal(((await posted.json()) as { project: number }).project, 4);
    assert.deepEqual(await (await raw("/_local/projects")).json(), { projects: [1, 2, 3, 4] });
  });

  const raw = (path: string, init: RequestInit = {}) =>
    fetch(new URL(path, rig.hetzner.endpoint), {
      headers: { Authorization: `Bearer ${rig.hetzner.token}` },
      ...init,
    });

  it("answers unknown routes and methods in the envelope, token or not", async () => {
    for (const [path, method, status, code] of [
      ["/v1/nothing", "GET", 404, "not_found"],
      ["/v1/certificates", "GET", 404, "not_found"],
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

  it("cuts a body that has no end", async () => {
    const socket = connect(Number(new URL(rig.hetzner.endpoint).port), "127.0.0.1");
    await once(socket, "connect");
    const closed = new Promise((resolve) => socket.on("error", () => {}).once("close", resolve));
    socket.write("POST /v1/servers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    const piece = Buffer.alloc(1024 * 1024, "x");
    const chunk = Buffer.concat([Buffer.from("100000\r\n"), piece, Buffer.from("\r\n")]);
    let sent = 0;
    while (!socket.destroyed) {
      assert.ok(++sent < 200, "it takes in whatever comes");
      const drained = new Promise((resolve) => socket.once("drain", resolve));
      if (!socket.write(chunk)) await Promise.race([drained, closed]);
    }
    await closed;
    assert.ok(sent > 60, `${sent} MiB`);
    await rig.must("GET", "/servers");
  });

  it("gives each answer an id of its own to ask Hetzner's support about", async () => {
    const ids = await Promise.all(
      [rig.call("GET", "/servers"), rig.call("GET", "/servers/9")].map(async (reply) =>
        (await reply).headers.get("x-correlation-id"),
      ),
    );
    assert.match(ids.join(" "), /^[0-9a-f]{16} [0-9a-f]{16}$/);
    assert.notEqual(ids[0], ids[1]);
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

  it("closes a connection that sends no headers in time, with 408, and serves the others", async () => {
    const own = await startRig({ headersTimeoutMs: 50 });
    const port = Number(new URL(own.hetzner.endpoint).port);
    const answers = await Promise.all(
      ["", "GET /v1/servers HTTP/1.1\r\nHost: x\r\n"].map(async (text) => {
        const socket = connect(port, "127.0.0.1");
        await once(socket, "connect");
        if (text !== "") socket.write(text);
        return readAll(socket);
      }),
    );
    for (const answer of answers.filter((text) => text !== "")) {
      assert.match(answer, /^HTTP\/1\.1 408 [\s\S]*application\/json[\s\S]*"code":"timeout"/);
    }
    assert.notEqual(answers[1], "");
    await own.must("GET", "/servers");
    await own.close();
  });

  for (const [what, text, status] of [
    ["no HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400],
    ["a target that is none", "GET // HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404],
    [
      "two lengths",
      "POST /v1/servers HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
      400,
    ],
    ["20 KB of headers", `GET /v1/servers HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(20_000)}\r\n\r\n`, 431],
  ] as const) {
    it(`answers ${what} with ${status} in the envelope`, async () => {
      const socket = connect(Number(new URL(rig.hetzner.endpoint).port), "127.0.0.1");
      await once(socket, "connect");
      socket.write(text);
      const answer = await readAll(socket);
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `));
      assert.match(answer, /\{"error":\{"code":"[a-z_]+","message":"[^"]+"/);
      assert.doesNotMatch(answer, /\bat .*:\d+/, "no stack trace");
      await rig.must("GET", "/servers");
    });
  }

  it("takes JSON whatever content type it has, and nothing else", async () => {
    const key = await raw("/v1/ssh_keys", {
      method: "POST",
      headers: { Authorization: `Bearer ${rig.hetzner.token}`, "Content-Type": "text/csv" },
      body: JSON.stringify({ name: "k", public_key: publicKey("k") }),
    });
    assert.equal(key.status, 201);
    const form = await raw("/v1/ssh_keys", {
      method: "POST",
      headers: { Authorization: `Bearer ${rig.hetzner.token}` },
      body: new URLSearchParams({ name: "k" }),
    });
    assert.equal(form.status, 400);
    assert.equal(((await form.json()) as { error: { code: string } }).error.code, "json_error");
  });

  it("refuses labels with illegal characters, by field", async () => {
    for (const labels of [
      { "a b": "x" },
      { a: "x y" },
      { a: "2026-11-21T12:00:00Z" },
      { "": "x" },
      { a: "ü" },
      { "hetzner.cloud/a": "x" },
      { "A_/b": "x" },
      { [`a${"b".repeat(63)}`]: "x" },
      { a: "x".repeat(64) },
      { a: 5 },
      { a: null },
    ]) {
      const reply = await rig.call("POST", "/servers", { ...serverOrder("m-1"), labels });
      assert.equal(reply.status, 422, JSON.stringify(labels));
      const [field] = reply.body.error.details?.fields ?? [];
      assert.match(field?.name ?? "", /^labels/);
    }
  });

  it("refuses a server name of 64 characters in one piece, and takes one of 63", async () => {
    const refused = await rig.call("POST", "/servers", serverOrder("a".repeat(64)));
    assertError(refused, 422, "invalid_input", "name");
    await rig.must("POST", "/servers", serverOrder("a".repeat(63)));
    for (const name of ["", "a b", "-a", "a-", "a..b", "ü", "a\u0000"]) {
      assertError(await rig.call("POST", "/servers", serverOrder(name)), 422, "invalid_input", "name");
    }
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

  it("lets 3600 through at once and one a second after that, and unauthenticated ones count on their own", () => {
    let now = 0;
    const limit = new RateLimit(3_600, () => now);
    for (let index = 0; index < 3_600; index++) assert.equal(limit.take(1).allowed, true);
    assert.equal(limit.take(1).allowed, false);
    now = 999;
    assert.equal(limit.take(1).allowed, false);
    now = 1_000;
    const { allowed, headers } = limit.take(1);
    assert.deepEqual(
      [allowed, headers["RateLimit-Remaining"], headers["RateLimit-Reset"]],
      [true, "0", "3601"],
    );
    assert.equal(limit.take(1).allowed, false);
    assert.equal(limit.take(null).allowed, true);
    now = 3_600_000 + 1_000;
    assert.equal(limit.take(1).headers["RateLimit-Remaining"], "3599");
  });

  it("counts requests without a token too, wrong routes included", async () => {
    for (let index = 0; index < 20; index++) {
      const path = index % 2 ? "/servers" : "/servers/1";
      assertError(await rig.call("GET", path, undefined, null), 401, "unauthorized");
    }
    assertError(await rig.call("GET", "/servers", undefined, null), 429, "rate_limit_exceeded");
    const unknown = await raw("/v1/nothing", { headers: {} });
    assert.equal(unknown.status, 429);
    await rig.must("GET", "/servers");
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

import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type LocalTailscale, startTailscale } from "./api.ts";
import { type Caller, callerOf, callerWith } from "./caller.ts";

describe("Tailscale's API: misuse", () => {
  let local: LocalTailscale;
  let call: Caller;
  beforeEach(async () => {
    local = await startTailscale({ mode: "simulated", dir: "" });
    call = await callerOf(local, ["all"]);
  });
  afterEach(() => local.close());

  /** An answer in Tailscale's error shape, without anything of our inside. */
  const refuses = async (
    caller: Caller,
    status: number,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<string> => {
    const answer = await caller(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    assert.deepEqual(Object.keys(answer.body as object), ["message"]);
    const { message } = answer.body as { message: string };
    assert.doesNotMatch(message, /\n|\.ts:|node_modules|at async/);
    return message;
  };
  const lives = async () => assert.equal((await call("GET", "/tailnet/-/devices")).status, 200);

  it("answers a wrong token and none at all with 401", async () => {
    for (const token of ["tskey-api-wrong", "", "tskey-api-\u00e9"]) {
      const caller = callerWith(local, encodeURIComponent(token));
      assert.equal(await refuses(caller, 401, "GET", "/tailnet/-/devices"), "API token invalid");
    }
    const bare = await fetch(`${local.apiUrl}/tailnet/-/devices`);
    assert.deepEqual([bare.status, await bare.json()], [401, { message: "API token invalid" }]);
  });

  it("answers unknown paths with 404 and wrong methods with 405", async () => {
    for (const path of [
      "/nothing",
      "/tailnet/-",
      "/device/",
      "/tailnet/-/keys/a/b",
      "/device/x/attributes",
    ]) {
      await refuses(call, 404, "GET", path);
    }
    for (const [method, path] of [
      ["PUT", "/tailnet/-/devices"],
      ["DELETE", "/tailnet/-/keys"],
      ["GET", "/oauth/token"],
      ["GET", "/device/n1/tags"],
    ] as const) {
      await refuses(call, 405, method, path);
    }
    const outside = await fetch(new URL("/nothing", local.apiUrl));
    assert.deepEqual([outside.status, await outside.json()], [404, { message: "not found" }]);
  });

  it("answers paths that cannot be decoded, and lives on", async () => {
    for (const path of ["/device/%E0%A4%A", "/device/%00", `/device/${"x".repeat(8_000)}`]) {
      await refuses(call, 404, "GET", path);
    }
    await lives();
  });

  it("answers bodies that are not what they should be with 400, and says what is wrong", async () => {
    const bodies: readonly [string, string, unknown, RegExp][] = [
      ["POST", "/tailnet/-/keys", "{", /invalid JSON/],
      ["POST", "/tailnet/-/keys", "", /invalid JSON/],
      ["POST", "/tailnet/-/keys", "null", /invalid request/],
      ["POST", "/tailnet/-/keys", [], /invalid request/],
      ["POST", "/tailnet/-/keys", {}, /capabilities/],
      ["POST", "/tailnet/-/keys", { keyType: "api" }, /keyType/],
      ["POST", "/tailnet/-/keys", { capabilities: { devices: {} }, expirySeconds: -1 }, /expirySeconds/],
      ["POST", "/tailnet/-/keys", { capabilities: { devices: {} }, expirySeconds: 1e9 }, /expirySeconds/],
      ["POST", "/tailnet/-/keys", { capabilities: { devices: {} }, description: "a_b" }, /description/],
      [
        "POST",
        "/tailnet/-/keys",
        { capabilities: { devices: {} }, description: "x".repeat(51) },
        /description/,
      ],
      ["POST", "/device/n1/tags", { tags: "tag:claw-vm" }, /tags/],
      ["POST", "/device/n1/authorized", {}, /authorized/],
      ["POST", "/device/n1/key", { keyExpiryDisabled: "yes" }, /keyExpiryDisabled/],
      [
        "POST",
        "/tailnet/-/webhooks",
        { endpointUrl: "nowhere", subscriptions: ["nodeCreated"] },
        /endpointUrl/,
      ],
      [
        "POST",
        "/tailnet/-/webhooks",
        { endpointUrl: "https://a.example", subscriptions: ["x"] },
        /subscriptions/,
      ],
      [
        "POST",
        "/tailnet/-/webhooks",
        { endpointUrl: "http://a.example", subscriptions: ["nodeCreated"] },
        /https/,
      ],
    ];
    for (const [method, path, body, message] of bodies) {
      assert.match(await refuses(call, 400, method, path, body), message);
    }
    await lives();
  });

  it("answers a body of 10 MB with 413, with and without a token", async () => {
    const huge = `{"description":"${"x".repeat(10_000_000)}"}`;
    await refuses(call, 413, "POST", "/tailnet/-/keys", huge);
    await refuses(callerWith(local, "wrong"), 401, "POST", "/tailnet/-/keys", huge);
    const form = await fetch(`${local.apiUrl}/oauth/token`, { method: "POST", body: huge });
    assert.deepEqual([form.status, await form.json()], [413, { message: "request body too large" }]);
    await lives();
  });

  it("answers others while 200 connections send nothing, and while one stops in the middle of its body", async () => {
    const port = Number(new URL(local.apiUrl).port);
    const sockets: Socket[] = [];
    try {
      for (let index = 0; index < 200; index++) sockets.push(connect(port, "127.0.0.1"));
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      const head = `POST /api/v2/tailnet/-/keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${call.token}\r\n`;
      sockets[0]?.write(`${head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"capa`);
      await lives();
    } finally {
      for (const socket of sockets) socket.destroy();
    }
    await lives();
  });
});

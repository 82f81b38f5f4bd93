/** Faults at the API, as the product's own client sees them. Those of control server and relay: contract.ts. */
import assert from "node:assert/strict";
import { BorderError } from "../../../pool/errors.ts";
import { Secret } from "../../../pool/secrets/secret.ts";
import { createTailnet } from "../../../pool/tailnet/client.ts";
import type { Tailnet } from "../../../pool/tailnet/tailnet.ts";
import { VirtualClock } from "../../virtual-clock.ts";
import { type LocalTailscale, startTailscale } from "./api.ts";
import type { FaultInput } from "./faults.ts";

describe("local tailnet: faults at the API", () => {
  let local: LocalTailscale;
  let tailnet: Tailnet;
  let clock: VirtualClock;
  beforeEach(async () => {
    local = await startTailscale({ mode: "simulated", dir: "" });
    clock = new VirtualClock();
    const { apiUrl, clientId } = local;
    tailnet = createTailnet({ apiUrl, clientId, clientSecret: new Secret(local.clientSecret), clock });
  });
  afterEach(() => local.close());

  const wanted = { tags: ["tag:claw-vm"], expirySeconds: 600, description: "fault" };
  const add = (effect: FaultInput["effect"], more: Partial<FaultInput> = {}) =>
    local.faults.add({ method: "POST", path: "/tailnet/*/keys", ...more, effect });
  const failure = (kind: string, code: string, retryAfterMs?: number) => (error: unknown) => {
    assert.ok(error instanceof BorderError);
    assert.deepEqual([error.kind, error.code, error.retryAfterMs], [kind, code, retryAfterMs]);
    return true;
  };

  it("429 with Retry-After, as often as asked; nothing was minted", async () => {
    const headers = { "Retry-After": "3" };
    await add({ kind: "answer", status: 429, message: "rate limited", headers }, { times: 2 });
    for (let index = 0; index < 2; index++) {
      await assert.rejects(tailnet.mintKey(wanted), failure("transient", "http_429", 3_000));
    }
    assert.equal((await local.control.keys()).length, 0);
    await tailnet.mintKey(wanted);
  });

  it("500, 502 and 504, with Tailscale's error shape, a proxy's page or nothing", async () => {
    const bodies = [{ status: 500 }, { status: 502, body: "<html>" }, { status: 504, body: "" }];
    for (const answer of bodies) {
      await add({ kind: "answer", ...answer });
      await assert.rejects(tailnet.mintKey(wanted), failure("transient", `http_${answer.status}`));
    }
  });

  it("a connection cut before and after the key was made", async () => {
    await add({ kind: "drop" });
    await assert.rejects(tailnet.mintKey(wanted), failure("transient", "no_answer"));
    assert.equal((await local.control.keys()).length, 0);
    await add({ kind: "drop", when: "after" });
    await assert.rejects(tailnet.mintKey(wanted), failure("transient", "no_answer"));
    assert.equal((await local.control.keys()).length, 1, "a key that nobody has");
  });

  it("an error after a device was deleted; deleting it again is success", async () => {
    const { key } = await tailnet.mintKey(wanted);
    const body = JSON.stringify({ authKey: key.expose(), hostname: "a" });
    const joined = await fetch(String(local.registerUrl), { method: "POST", body });
    const { nodeId } = (await joined.json()) as { nodeId: string };
    const effect = { kind: "answer", when: "after", status: 504 } as const;
    await add(effect, { method: "DELETE", path: "/device/*" });
    await assert.rejects(tailnet.deleteDevice(nodeId), failure("transient", "http_504"));
    assert.deepEqual(await local.devices(), []);
    await tailnet.deleteDevice(nodeId);
  });

  it("an answer that takes too long, which the client gives up on its own clock", async () => {
    const fault = await add({ kind: "delay", ms: 86_400_000 });
    const minting = assert.rejects(tailnet.mintKey(wanted), failure("transient", "no_answer"));
    await local.faults.waitForHits(fault);
    await clock.advance(10_000);
    await minting;
    await local.faults.remove(fault);
  });

  it("only requests that the pattern names, after those it lets through", async () => {
    await add({ kind: "answer", status: 503 }, { method: "GET", path: "/device/*", skip: 1 });
    assert.equal(await tailnet.device("a"), null);
    assert.deepEqual(await tailnet.devices("tag:claw-vm"), []);
    await assert.rejects(tailnet.device("a"), failure("transient", "http_503"));
    assert.equal(await tailnet.device("a"), null);
    assert.deepEqual(
      local.calls.map(({ path, status, fault }) => [path.replace("/api/v2", ""), status, fault]),
      [
        ["/oauth/token", 200, null],
        ["/device/a", 404, null],
        ["/tailnet/-/devices", 200, null],
        ["/device/a", 503, 1],
        ["/device/a", 404, null],
      ],
    );
  });

  it("ordered, seen and taken back at /_local/faults", async () => {
    const url = new URL("/_local/faults", local.apiUrl);
    const post = (body: unknown) => fetch(url, { method: "POST", body: JSON.stringify(body) });
    const fault = { path: "/device/*", effect: { kind: "answer", status: 500 } };
    assert.deepEqual(await (await post(fault)).json(), { id: 1 });
    await assert.rejects(tailnet.device("a"), failure("transient", "http_500"));
    const { faults } = (await (await fetch(url)).json()) as { faults: { id: number; hits: number }[] };
    assert.deepEqual(
      faults.map(({ id, hits }) => [id, hits]),
      [[1, 1]],
    );
    assert.equal((await fetch(`${url}/1`, { method: "DELETE" })).status, 204);
    assert.equal((await fetch(`${url}/1`, { method: "DELETE" })).status, 404);
    await post(fault);
    assert.equal((await fetch(url, { method: "DELETE" })).status, 204);
    assert.equal(await tailnet.device("a"), null);
    const wrong = [
      null,
      {},
      { ...fault, path: "device" },
      { ...fault, times: 0 },
      { target: "relay", effect: { kind: "drop" } },
      { target: "relay", effect: { kind: "down" } },
      { target: "api", effect: { kind: "down" } },
    ];
    for (const body of wrong) assert.equal((await post(body)).status, 422, JSON.stringify(body));
  });
});

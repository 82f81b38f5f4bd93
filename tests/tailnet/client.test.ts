import { strict as assert } from "node:assert";
import { systemClock } from "../../pool/clock.ts";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { createTailnet } from "../../pool/tailnet/client.ts";
import type { Tailnet } from "../../pool/tailnet/tailnet.ts";
import { type LocalTailscale, startTailscale } from "../cloud/tailscale/api.ts";
import type { FaultInput } from "../cloud/tailscale/faults.ts";
import { simulatedRig } from "../cloud/tailscale/rig.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { onLocalCloud, tailnetContract, tailnetOf } from "./contract.ts";

tailnetContract("the simulated control server", onLocalCloud(simulatedRig));

type Answer = Extract<FaultInput["effect"], { kind: "answer" }>;
const injected = { kind: "answer", status: 500 } as const;

describe("Tailscale client", () => {
  let local: LocalTailscale;
  let tailnet: Tailnet;

  beforeEach(async () => {
    local = await startTailscale({ mode: "simulated", dir: "" });
    tailnet = tailnetOf(local);
  });
  afterEach(() => local.close());

  const list = "/tailnet/-/devices";
  const fail = (path: string, effect: FaultInput["effect"], times = 1) =>
    local.faults.add({ path, effect, times });
  const tokensAsked = () => local.calls.filter((call) => call.path.endsWith("/oauth/token")).length;
  const fails =
    (kind: BorderErrorKind, code: string, more: Partial<BorderError> = {}) =>
    (error: unknown) => {
      assert.ok(error instanceof BorderError, String(error));
      assert.deepEqual([error.border, error.kind, error.code], ["tailnet", kind, code]);
      for (const [name, value] of Object.entries(more)) assert.equal(Reflect.get(error, name), value);
      assert.ok(!String(error).includes(local.clientSecret));
      return true;
    };

  it("asks for one token however many calls start at once, and keeps it", async () => {
    await Promise.all([tailnet.device("a"), tailnet.device("b"), tailnet.devices("tag:claw-vm")]);
    await tailnet.device("c");
    assert.equal(tokensAsked(), 1);
  });

  it("renews the token after 50 minutes", async () => {
    const clock = new VirtualClock();
    const { apiUrl, clientId, clientSecret } = local;
    const timed = createTailnet({ apiUrl, clientId, clientSecret: new Secret(clientSecret), clock });
    await timed.device("a");
    await clock.advance(49 * 60_000);
    await timed.device("a");
    assert.equal(tokensAsked(), 1);
    await clock.advance(60_000);
    await timed.device("a");
    assert.equal(tokensAsked(), 2);
    assert.equal(clock.waiting, 0, "no time-out outlives its request");
  });

  it("gets a new token when the old one is refused, once for all calls, and repeats the call", async () => {
    await tailnet.device("a");
    await local.advance(3_600_000);
    assert.deepEqual(await Promise.all([tailnet.device("a"), tailnet.devices("tag:claw-vm")]), [null, []]);
    assert.equal(tokensAsked(), 2);
    assert.deepEqual(
      local.calls.filter((call) => call.path.endsWith("/devices")).map((call) => call.status),
      [401, 200],
    );
  });

  it("gives up when the new token is refused as well", async () => {
    await fail("/device/*", { kind: "answer", status: 401, message: "API token invalid" }, 2);
    await assert.rejects(tailnet.device("a"), fails("auth", "http_401"));
    assert.equal(local.calls.filter((call) => call.path.includes("/device/")).length, 2);
  });

  it("calls a wrong client secret a matter of credentials, and can be asked again", async () => {
    const { apiUrl, clientId } = local;
    const wrong = createTailnet({
      apiUrl,
      clientId,
      clientSecret: new Secret("tskey-client-x"),
      clock: systemClock,
    });
    await assert.rejects(wrong.device("a"), fails("auth", "http_401"));
    await assert.rejects(wrong.device("a"), fails("auth", "http_401"));
    assert.equal(tokensAsked(), 2);
  });

  const cases: readonly [string, Partial<Answer> | "cut", BorderErrorKind, string, Partial<BorderError>?][] =
    [
      [
        "too many requests",
        { status: 429, headers: { "retry-after": "7" } },
        "transient",
        "http_429",
        { retryAfterMs: 7_000 },
      ],
      ["a slow device list", { status: 504 }, "transient", "http_504"],
      ["a proxy's page", { status: 502, body: "<html>" }, "transient", "http_502"],
      ["a missing scope", { status: 403, message: "no" }, "auth", "http_403"],
      ["a device of another tailnet", { status: 501 }, "permanent", "http_501"],
      ["a cut connection", "cut", "transient", "no_answer"],
      [
        "an answer of another shape",
        { status: 200, body: { devices: [{ nodeId: 7 }] } },
        "permanent",
        "bad_answer",
      ],
      ["a success that is not JSON", { status: 200, body: "fine" }, "permanent", "bad_answer"],
      ["a redirect", { status: 302, headers: { location: "http://127.0.0.1:1/" } }, "permanent", "http_302"],
    ];
  for (const [name, answer, kind, code, more] of cases) {
    it(`maps ${name} to ${kind}`, async () => {
      const effect = answer === "cut" ? ({ kind: "drop" } as const) : { ...injected, ...answer };
      await fail(list, effect);
      await assert.rejects(tailnet.devices("tag:claw-vm"), fails(kind, code, more));
      assert.deepEqual(await tailnet.devices("tag:claw-vm"), []);
    });
  }

  it("takes a refused deletion for done only when the device is gone", async () => {
    const refusal = {
      kind: "answer",
      status: 501,
      message: "cannot delete devices outside of your tailnet",
    } as const;
    await fail("/device/*", refusal);
    await tailnet.deleteDevice("n00000009CNTRL");
    const { key } = await tailnet.mintKey({
      tags: ["tag:claw-vm"],
      expirySeconds: 600,
      description: "x",
    });
    const body = JSON.stringify({ authKey: key.expose(), hostname: "a" });
    const joined = await fetch(String(local.registerUrl), { method: "POST", body });
    const { nodeId } = (await joined.json()) as { nodeId: string };
    await fail("/device/*", refusal);
    await assert.rejects(tailnet.deleteDevice(nodeId), fails("permanent", "http_501"));
  });

  it("understands a refusal in RFC 6749's words, which other control servers use", async () => {
    const body = { error: "invalid_client", error_description: "client authentication failed" };
    await fail("/oauth/token", { kind: "answer", status: 400, body });
    await assert.rejects(tailnet.device("a"), fails("auth", "invalid_client"));
  });

  it("waits no longer than the time-out", async () => {
    const clock = new VirtualClock();
    const asked = Promise.withResolvers<void>();
    const hung: typeof fetch = (_url, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
        asked.resolve();
      });
    const slow = createTailnet({
      apiUrl: local.apiUrl,
      clientId: local.clientId,
      clientSecret: new Secret(local.clientSecret),
      clock,
      fetch: hung,
    });
    const call = assert.rejects(slow.device("a"), fails("transient", "no_answer"));
    await asked.promise;
    await clock.advance(10_000);
    await call;
  });

  it("refuses a description that Tailscale would refuse, before it asks", async () => {
    for (const description of ["a".repeat(51), "order_1", "order\n1", "ordér"]) {
      await assert.rejects(
        tailnet.mintKey({ tags: ["tag:claw-vm"], expirySeconds: 600, description }),
        RangeError,
      );
    }
    assert.deepEqual(local.calls, []);
  });

  it("gives no foreign device and none twice when the server does not filter", async () => {
    const device = (nodeId: string, tags?: string[]) => ({
      nodeId,
      hostname: "h",
      name: "h.ts.net",
      addresses: [],
      authorized: true,
      connectedToControl: false,
      ...(tags ? { tags } : {}),
    });
    const mine = device("n1", ["tag:claw-vm"]);
    const devices = [mine, device("n2", ["tag:other"]), device("n3"), mine];
    await fail(list, { kind: "answer", status: 200, body: { devices } });
    assert.deepEqual(
      (await tailnet.devices("tag:claw-vm")).map(({ nodeId }) => nodeId),
      ["n1"],
    );
  });
});

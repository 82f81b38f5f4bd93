import assert from "node:assert/strict";
import { VirtualClock } from "../../virtual-clock.ts";
import { type LocalTailscale, startTailscale } from "./api.ts";
import { type Caller, callerOf, mintKey } from "./caller.ts";
import { isSigned, type Receiver, startReceiver } from "./receiver.ts";

interface Webhook {
  readonly endpointId: string;
  readonly secret?: string;
  readonly subscriptions: readonly string[];
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

describe("Tailscale's API: webhooks", () => {
  let local: LocalTailscale;
  let call: Caller;
  let receiver: Receiver;
  let clock: VirtualClock;
  beforeEach(async () => {
    clock = new VirtualClock();
    local = await startTailscale({ mode: "simulated", dir: "", clock, deviceApproval: true });
    call = await callerOf(local, ["all"]);
    receiver = await startReceiver();
  });
  afterEach(async () => {
    await local.close();
    await receiver.close();
  });

  const create = async (...subscriptions: string[]): Promise<Webhook> => {
    const { status, body } = await call("POST", "/tailnet/-/webhooks", {
      endpointUrl: receiver.url,
      subscriptions,
    });
    assert.equal(status, 200, JSON.stringify(body));
    receiver.secret = (body as { secret: string }).secret;
    return body as Webhook;
  };
  const join = async (hostname: string, preauthorized = true): Promise<string> => {
    const { key } = await mintKey(call, { preauthorized });
    const response = await fetch(String(local.registerUrl), {
      method: "POST",
      body: JSON.stringify({ authKey: key, hostname }),
    });
    return ((await response.json()) as { nodeId: string }).nodeId;
  };
  const types = () => receiver.events.map(({ type }) => type);
  const post = async (path: string, body?: object) =>
    assert.equal((await call("POST", path, body)).status, 200);

  it("are shown without their secret, which comes when they are made and rotated", async () => {
    const { secret, ...made } = await create("nodeCreated", "nodeDeleted");
    assert.match(String(secret), /^tskey-webhook-/);
    const { endpointId } = made;
    assert.deepEqual(made, {
      endpointId,
      endpointUrl: receiver.url,
      providerType: "",
      creatorLoginName: "",
      created: "2026-01-01T00:00:00.000Z",
      lastModified: "2026-01-01T00:00:00.000Z",
      subscriptions: ["nodeCreated", "nodeDeleted"],
    });
    assert.deepEqual((await call("GET", `/webhooks/${endpointId}`)).body, made);
    assert.deepEqual((await call("GET", "/tailnet/-/webhooks")).body, { webhooks: [made] });
    const { body } = await call("POST", `/webhooks/${endpointId}/rotate`);
    assert.notEqual((body as Webhook).secret, secret);
    assert.match(String((body as Webhook).secret), /^tskey-webhook-/);
    assert.equal((await call("GET", "/webhooks/other")).status, 404);
  });

  it("tell of what they subscribed to, and of nothing else", async () => {
    await create("nodeApproved", "nodeDeleted");
    const nodeId = await join("a", false);
    await post(`/device/${nodeId}/authorized`, { authorized: true });
    await call("DELETE", `/device/${nodeId}`);
    const { data } = await receiver.waitFor("nodeDeleted");
    assert.deepEqual(types(), ["nodeApproved", "nodeDeleted"]);
    assert.equal(data?.nodeID, nodeId);
  });

  it("tell of a whole category: approval, and keys that will end and have ended", async () => {
    await create("categoryTailnetManagement");
    const nodeId = await join("a", false);
    await post(`/device/${nodeId}/authorized`, { authorized: true });
    await post(`/device/${nodeId}/key`, { keyExpiryDisabled: false });
    await local.advance(179 * dayMs + hourMs);
    const { message, data } = await receiver.waitFor("nodeKeyExpiringInOneDay");
    assert.equal(message, "Node a.clawpool.ts.net key expiring in less than one day");
    assert.equal(data?.expiration, "2026-06-30T00:00:00.000Z");
    await local.advance(dayMs);
    await receiver.waitFor("nodeKeyExpired");
    const all = [
      "nodeCreated",
      "nodeNeedsApproval",
      "nodeApproved",
      "nodeKeyExpiringInOneDay",
      "nodeKeyExpired",
    ];
    assert.deepEqual(types(), all);
  });

  it("send a test event when asked, signed with the secret in force", async () => {
    const { endpointId, secret } = await create("nodeCreated");
    assert.equal((await call("POST", `/webhooks/${endpointId}/test`)).status, 202);
    assert.deepEqual(await receiver.waitFor("test"), {
      timestamp: "2026-01-01T00:00:00.000Z",
      version: 1,
      type: "test",
      tailnet: "Tclawpool1CNTRL",
      message: "This is a test event",
      data: null,
    });
    const [{ header, body } = { header: "", body: "" }] = receiver.deliveries;
    assert.match(header, /^t=1767225600,v1=[0-9a-f]{64}$/);
    assert.ok(isSigned(header, body, String(secret)));
    assert.ok(!isSigned(header, `${body} `, String(secret)));
    assert.ok(!isSigned(header.replace("t=1", "t=2"), body, String(secret)));
    assert.ok(!isSigned(header, body, `${secret}x`));

    const { body: rotated } = await call("POST", `/webhooks/${endpointId}/rotate`);
    receiver.secret = (rotated as { secret: string }).secret;
    await call("POST", `/webhooks/${endpointId}/test`);
    await local.webhooks.waitForDelivery(
      ({ types }) => types.at(-1) === "test" && receiver.deliveries.length > 1,
    );
    const last = receiver.deliveries.at(-1);
    assert.ok(last && !isSigned(last.header, last.body, String(secret)));
    assert.ok(isSigned(last.header, last.body, receiver.secret));
  });

  it("change their subscriptions, and say so; removed ones say that last", async () => {
    const { endpointId } = await create("nodeDeleted");
    const change = { subscriptions: ["nodeCreated"] };
    const { body } = await call("PATCH", `/webhooks/${endpointId}`, change);
    assert.deepEqual((body as Webhook).subscriptions, ["nodeCreated"]);
    await receiver.waitFor("webhookUpdated");
    const nodeId = await join("a");
    await receiver.waitFor("nodeCreated");
    await call("DELETE", `/webhooks/${endpointId}`);
    await receiver.waitFor("webhookDeleted");
    await call("DELETE", `/device/${nodeId}`);
    assert.equal((await call("GET", `/webhooks/${endpointId}`)).status, 404);
    assert.deepEqual(types(), ["webhookUpdated", "nodeCreated", "webhookDeleted"]);
  });

  it("send again every hour what failed, later events behind it, and give it up after a day", async () => {
    const { endpointId } = await create("nodeCreated");
    const tried = (attempt: number) =>
      local.webhooks.waitForDelivery((one) => one.attempt === attempt && one.types[0] === "nodeCreated");
    receiver.answers.push(500, 302);
    await join("a");
    assert.equal((await tried(1)).status, 500);
    await join("b");
    await local.advance(hourMs);
    assert.equal((await tried(2)).status, 302);
    assert.deepEqual(types(), []);
    await local.advance(hourMs);
    assert.equal((await tried(3)).status, 200);
    await receiver.waitFor("nodeCreated", "b.clawpool.ts.net");
    const names = receiver.events.map(({ data }) => data?.deviceName);
    assert.deepEqual(names, ["a.clawpool.ts.net", "b.clawpool.ts.net"]);
    const [first, , third] = receiver.deliveries;
    assert.deepEqual(first, third, "the same events under the same signature");

    receiver.answers.push(...Array.from({ length: 25 }, () => 503));
    // The hours were those of the token as well.
    call = await callerOf(local, ["all"]);
    assert.equal((await call("POST", `/webhooks/${endpointId}/test`)).status, 202);
    const retried = (attempt: number) =>
      local.webhooks.waitForDelivery((one) => one.attempt === attempt && one.types[0] === "test");
    for (let attempt = 1; attempt < 25; attempt++) {
      await retried(attempt);
      await local.advance(hourMs);
    }
    assert.equal((await retried(25)).status, 503);
    assert.ok(!types().includes("test"));
  });
});

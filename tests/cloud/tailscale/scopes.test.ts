import assert from "node:assert/strict";
import { type LocalTailscale, startTailscale } from "./api.ts";
import { type Answer, callerOf, callerWith } from "./caller.ts";

describe("Tailscale's API: OAuth clients and scopes", () => {
  let local: LocalTailscale;
  beforeEach(async () => {
    local = await startTailscale({ mode: "simulated", dir: "" });
  });
  afterEach(() => local.close());

  const refusal = { message: "calling actor does not have enough permissions to perform this function" };
  const newKey = { capabilities: { devices: { create: { tags: ["tag:claw-ctl"] } } } };
  const endpointUrl = "https://hooks.example/tailscale";
  const webhook = { endpointUrl, subscriptions: ["nodeCreated"] };

  const needs: readonly [string, string, unknown, string][] = [
    ["POST", "/tailnet/-/keys", newKey, "auth_keys"],
    ["GET", "/tailnet/-/keys?all=true", undefined, "auth_keys:read"],
    ["GET", "/tailnet/-/keys/k1CNTRL", undefined, "auth_keys:read"],
    ["DELETE", "/tailnet/-/keys/k1CNTRL", undefined, "auth_keys"],
    ["POST", "/tailnet/-/keys", { keyType: "client", scopes: ["dns:read"] }, "oauth_keys"],
    ["GET", "/tailnet/-/devices", undefined, "devices:core:read"],
    ["GET", "/device/n1CNTRL", undefined, "devices:core:read"],
    ["DELETE", "/device/n1CNTRL", undefined, "devices:core"],
    ["POST", "/device/n1CNTRL/tags", { tags: ["tag:claw-vm"] }, "devices:core"],
    ["POST", "/device/n1CNTRL/name", { name: "a" }, "devices:core"],
    ["POST", "/device/n1CNTRL/key", { keyExpiryDisabled: true }, "devices:core"],
    ["POST", "/device/n1CNTRL/authorized", { authorized: true }, "devices:core"],
    ["POST", "/device/n1CNTRL/expire", undefined, "devices:core"],
    ["POST", "/device/n1CNTRL/ip", { ipv4: "100.80.0.1" }, "devices:core"],
    ["GET", "/device/n1CNTRL/routes", undefined, "devices:routes:read"],
    ["POST", "/device/n1CNTRL/routes", { routes: [] }, "devices:routes"],
    ["GET", "/tailnet/-/webhooks", undefined, "webhooks:read"],
    ["POST", "/tailnet/-/webhooks", webhook, "webhooks"],
    ["GET", "/webhooks/1", undefined, "webhooks:read"],
    ["PATCH", "/webhooks/1", { subscriptions: ["nodeCreated"] }, "webhooks"],
    ["DELETE", "/webhooks/1", undefined, "webhooks"],
    ["POST", "/webhooks/1/test", undefined, "webhooks"],
    ["POST", "/webhooks/1/rotate", undefined, "webhooks"],
  ];
  for (const [method, path, body, scope] of needs) {
    it(`want ${scope} for ${method} ${path}`, async () => {
      const family = scope.replace(/:read$/, "");
      const enough = scope === family ? [family, "all"] : [scope, family, "all:read", "all"];
      for (const held of enough) {
        const { status } = await (await callerOf(local, [held]))(method, path, body);
        assert.ok(status === 200 || status === 404, `${held}: ${status}`);
      }
      const others = [
        "auth_keys",
        "devices:core",
        "devices:routes",
        "webhooks",
        "oauth_keys",
        "dns",
        "all:read",
      ];
      const short = others.filter((held) => !enough.includes(held));
      if (scope === family) short.push(`${family}:read`);
      // A list of keys shows each token what it may see of it.
      const seesClients = method === "GET" && path.startsWith("/tailnet/-/keys?");
      for (const held of short.filter((one) => !(seesClients && one === "oauth_keys"))) {
        const answer = await (await callerOf(local, [held]))(method, path, body);
        assert.deepEqual([answer.status, answer.body], [403, refusal], held);
      }
    });
  }

  it("grant tokens for an hour, narrowed to what the request asks for", async () => {
    const { id, secret } = local.oauth.createClient({
      scopes: ["auth_keys", "devices:core"],
      tags: ["tag:claw-ctl", "tag:claw-vm"],
    });
    const ask = async (form: Record<string, string>, headers: Record<string, string> = {}) => {
      const body = new URLSearchParams(form);
      const response = await fetch(`${local.apiUrl}/oauth/token`, { method: "POST", body, headers });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    // The id is not looked at, and the secret may be in either place.
    const basic = Buffer.from(`some-client-id:${secret}`).toString("base64");
    for (const { status, body } of [
      await ask({ client_id: id, client_secret: secret, grant_type: "client_credentials" }),
      await ask({ client_secret: secret }),
      await ask({}, { authorization: `Basic ${basic}` }),
    ]) {
      const { access_token, ...rest } = body;
      assert.match(String(access_token), /^tskey-api-/);
      assert.equal(status, 200);
      assert.deepEqual(rest, { token_type: "Bearer", expires_in: 3600, scope: "auth_keys devices:core" });
    }
    const narrow = await ask({ client_secret: secret, scope: "devices:core", tags: "tag:claw-vm" });
    assert.equal(narrow.body.scope, "devices:core");
    const call = callerWith(local, String(narrow.body.access_token));
    assert.equal((await call("POST", "/tailnet/-/keys", newKey)).status, 403);
    assert.equal((await call("GET", "/tailnet/-/devices")).status, 200);
    await local.advance(3_599_000);
    assert.equal((await call("GET", "/tailnet/-/devices")).status, 200);
    await local.advance(1_000);
    const late = await call("GET", "/tailnet/-/devices");
    assert.deepEqual([late.status, late.body], [401, { message: "API token invalid" }]);

    const status = async (form: Record<string, string>) => (await ask(form)).status;
    assert.equal(await status({ client_secret: "tskey-client-wrong" }), 401);
    assert.equal(await status({ client_secret: secret, scope: "webhooks" }), 400);
    assert.equal(await status({ client_secret: secret, tags: "tag:other" }), 400);
    assert.equal(await status({ client_secret: secret, grant_type: "password" }), 400);
  });

  it("refuse a client's secret in the place of a token, as a matter of permissions", async () => {
    const answer = await callerWith(local, local.clientSecret)("GET", "/tailnet/-/devices");
    assert.deepEqual([answer.status, answer.body], [403, refusal]);
  });

  it("accept a token as user name of basic authentication", async () => {
    const { token } = await callerOf(local, ["devices:core"]);
    const authorization = `Basic ${Buffer.from(`${token}:`).toString("base64")}`;
    assert.equal(
      (await fetch(`${local.apiUrl}/tailnet/-/devices`, { headers: { authorization } })).status,
      200,
    );
  });

  it("can be made, listed, changed and removed by a client with oauth_keys, and the secret is shown once", async () => {
    const admin = await callerOf(local, ["oauth_keys"]);
    const wanted = { keyType: "client", scopes: ["devices:core:read"], tags: [], description: "reader" };
    const { body: made } = (await admin("POST", "/tailnet/-/keys", wanted)) as Answer & {
      body: { id: string; key: string; scopes: string[] };
    };
    assert.match(made.key, new RegExp(`^tskey-client-${made.id}-`));
    const { body: list } = (await admin("GET", "/tailnet/-/keys")) as Answer & { body: { keys: object[] } };
    const { key: _, ...shown } = made;
    assert.deepEqual(list.keys.at(-1), shown);

    const form = new URLSearchParams({ client_secret: made.key });
    const granted = await fetch(`${local.apiUrl}/oauth/token`, { method: "POST", body: form });
    const reader = callerWith(local, ((await granted.json()) as { access_token: string }).access_token);
    assert.equal((await reader("GET", "/tailnet/-/devices")).status, 200);
    // Each may look at what it came from, and at nothing else.
    assert.deepEqual((await reader("GET", `/tailnet/-/keys/${made.id}`)).body, shown);
    assert.equal((await reader("GET", `/tailnet/-/keys/${local.clientId}`)).status, 403);

    const change = { ...wanted, scopes: ["devices:core"] };
    assert.deepEqual((await admin("PUT", `/tailnet/-/keys/${made.id}`, change)).body, {
      message: "tags are required with the scopes devices:core and auth_keys",
    });
    const changed = await admin("PUT", `/tailnet/-/keys/${made.id}`, { ...change, tags: ["tag:claw-vm"] });
    assert.deepEqual((changed.body as typeof made).scopes, ["devices:core"]);
    assert.equal((await admin("DELETE", `/tailnet/-/keys/${made.id}`)).status, 200);
    assert.equal((await reader("GET", "/tailnet/-/devices")).status, 401);
    assert.equal((await admin("GET", `/tailnet/-/keys/${made.id}`)).status, 403);
    const unknown = await admin("POST", "/tailnet/-/keys", {
      keyType: "client",
      scopes: ["devices:everything"],
    });
    assert.deepEqual(unknown.body, { message: "scope devices:everything is not valid" });
  });

  it("give auth keys exactly their own tags, or tags that those own", async () => {
    const call = await callerOf(local, ["auth_keys"], ["tag:claw-ctl", "tag:second"]);
    const mint = async (tags?: string[]) => {
      const create = tags === undefined ? {} : { tags };
      return (await call("POST", "/tailnet/-/keys", { capabilities: { devices: { create } } })) as Answer & {
        body: { expirySeconds: number; capabilities: object; message: string };
      };
    };
    for (const tags of [["tag:claw-vm"], ["tag:claw-vm", "tag:claw-pool"], ["tag:second", "tag:claw-ctl"]]) {
      const { status, body } = await mint(tags);
      assert.equal(status, 200);
      assert.equal(body.expirySeconds, 90 * 86_400);
      const create = { reusable: false, ephemeral: false, preauthorized: false, tags };
      assert.deepEqual(body.capabilities, { devices: { create } });
    }
    for (const tags of [["tag:second"], ["tag:made-up"], [], undefined]) {
      const { status, body } = await mint(tags);
      assert.deepEqual(
        [status, body.message],
        [400, `requested tags [${(tags ?? []).join(" ")}] are invalid or not permitted`],
      );
    }
  });
});

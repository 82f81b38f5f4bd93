import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { Script } from "node:vm";
import { orderBody } from "../order/rig.ts";
import { failure, limits, makeReady } from "../store/rows.ts";
import { type ApiRig, operatorToken, startApi, token } from "./rig.ts";

describe("the orders API", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    rig = await startApi();
  });
  afterEach(() => rig.close());

  const made = async () => {
    const { json } = await rig.ask("POST", "/v1/orders", orderBody());
    return { id: String(json.id), session: String(json.checkout_session) };
  };

  it("answers a new order with 201, its place and the URL to pay at", async () => {
    const { status, headers, json } = await rig.ask("POST", "/v1/orders", orderBody());
    assert.equal(status, 201);
    assert.equal(headers.get("location"), `/v1/orders/${json.id}`);
    assert.equal(json.state, "awaiting-payment");
    assert.match(String(json.checkout_url), /\/c\/pay\/cs_test_/);
    assert.deepEqual((await rig.ask("GET", `/v1/orders/${json.id}`)).json, json);
  });

  it("gives the same order again for the same Idempotency-Key", async () => {
    const key = { "idempotency-key": "b9a1" };
    const one = await rig.ask("POST", "/v1/orders", orderBody(), key);
    const two = await rig.ask("POST", "/v1/orders", orderBody(), key);
    assert.equal(two.json.id, one.json.id);
    const other = await rig.ask("POST", "/v1/orders", orderBody({ customer: "other" }), key);
    assert.equal(other.status, 409);
    assert.equal(other.json.field, "Idempotency-Key");
  });

  it("shows place and estimate while queued, steps while provisioning, the machine once it runs", async () => {
    const { id, session } = await made();
    await rig.stripe.console.buy(session).sent;
    const queued = (await rig.ask("GET", `/v1/orders/${id}`)).json;
    assert.deepEqual(
      [queued.state, queued.position, queued.estimate_seconds, queued.machine],
      ["queued", 1, 90, null],
    );

    const name = makeReady(rig.store, "claw-a");
    const pool = { name: "small", plan: "small", locationsOf: () => ["fsn1"] };
    const claim = rig.store.claimForQueue(pool);
    assert(claim);
    rig.store.changeMachine(name, "claimed", { state: "handing-over" }, "test");
    rig.store.appendStep(claim.order.id, { step: "env", ms: 12 });
    const provisioning = (await rig.ask("GET", `/v1/orders/${id}`)).json;
    assert.deepEqual([provisioning.state, provisioning.machine], ["provisioning", null]);
    const [step] = provisioning.steps as Record<string, unknown>[];
    assert.deepEqual([step?.step, step?.ms], ["env", 12]);
    assert.equal((await rig.ask("GET", `/v1/orders/${id}/access`)).status, 409);

    rig.store.recordServing(name, { tailnetNode: "n1", tailnetAddress: "100.64.0.7" });
    const running = (await rig.ask("GET", `/v1/orders/${id}`)).json;
    assert.equal(running.state, "running");
    assert.deepEqual(running.machine, {
      name: "claw-a",
      ip: "192.0.2.1",
      tailnet_address: "100.64.0.7",
      region: "fsn1",
      size: "cx23",
    });

    const { gatewayToken } = rig.store.agentSecrets(claim.order.id);
    assert(!JSON.stringify(running).includes(gatewayToken));
    assert.deepEqual((await rig.ask("GET", `/v1/orders/${id}/access`)).json, {
      gateway_token: gatewayToken,
      gateway_port: 18789,
      tailnet_address: "100.64.0.7",
      ip: "192.0.2.1",
    });
  });

  it("answers 404 as a problem for what is not there", async () => {
    for (const path of ["/v1/orders/ord_none", "/v1/orders/ord_none/events", "/v1/none", "/none"]) {
      const { status, headers } = await rig.ask("GET", path);
      assert.equal(status, 404, path);
      assert.equal(headers.get("content-type"), "application/problem+json");
    }
  });

  it("lets nobody in without a token", async () => {
    const { id } = await made();
    let tries = 0;
    const wrong = ["", "Bearer", "Bearer ", `Bearer ${token}x`, `Basic ${token}`, token, `Bearer ${token} x`];
    for (const authorization of wrong) {
      for (const [method, path] of [
        ["POST", "/v1/orders"],
        ["GET", `/v1/orders/${id}`],
        ["GET", `/v1/orders/${id}/events`],
        ["GET", `/v1/orders/${id}/access`],
        ["GET", "/v1/pool"],
      ] as const) {
        const from = { authorization, "x-forwarded-for": `203.0.113.${++tries}` };
        const { status, headers } = await rig.ask(method, path, undefined, from);
        assert.equal(status, 401, `${method} ${path} with ${authorization}`);
        assert.equal(headers.get("www-authenticate"), 'Bearer realm="clawpool"');
      }
    }
    const older = await rig.ask("GET", "/v1/pool", undefined, { authorization: "Bearer an-older-token" });
    assert.equal(older.status, 200);
  });

  it("slows down an address that tries tokens, says for how long, and does not look at what it sends", async () => {
    const from = (address: string, authorization: string) =>
      rig.ask("GET", "/v1/pool", undefined, { authorization, "x-forwarded-for": address });
    for (let i = 0; i < 10; i++) assert.equal((await from("203.0.113.9", `Bearer ${i}`)).status, 401);
    for (const authorization of ["Bearer x", `Bearer ${token}`]) {
      const { status, headers } = await from("203.0.113.9", authorization);
      assert.equal(status, 429);
      const wait = Number(headers.get("retry-after"));
      assert.ok(wait >= 1 && wait <= 6, String(wait));
    }
    assert.equal((await from("203.0.113.10", `Bearer ${token}`)).status, 200, "another address");
    for (let i = 0; i < 20; i++) assert.equal((await from("203.0.113.11", "")).status, 401);
    assert.equal((await from("203.0.113.11", `Bearer ${token}`)).status, 200, "no token is no try");
  });

  it("lists orders page by page, and by state", async () => {
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      ids.unshift((await made()).id);
      rig.clock.skip(1_000);
    }
    const list = async (query: string) => {
      const { status, json } = await rig.ask("GET", `/v1/orders${query}`);
      assert.equal(status, 200, query);
      const { orders, next } = json as { orders: { id: string }[]; next: string | null };
      return { ids: orders.map(({ id }) => id), next };
    };
    const first = await list("?limit=2");
    assert.deepEqual(first.ids, ids.slice(0, 2));
    assert.deepEqual(await list(`?limit=2&cursor=${first.next}`), { ids: ids.slice(2), next: null });
    assert.deepEqual((await list("?state=failed,queued")).ids, []);
    for (const query of ["?limit=0", "?limit=201", "?limit=x", "?state=gone", "?cursor=1", "?cursor=x.y.z"]) {
      const { status, json } = await rig.ask("GET", `/v1/orders${query}`);
      assert.equal(status, 422, query);
      assert.equal(json.field, query.slice(1).split("=")[0]);
    }
  });

  it("tells a customer honestly that a person looks at a failed order, and starts it again for a person", async () => {
    const name = makeReady(rig.store, "claw-a");
    const { id, session } = await made();
    await rig.stripe.console.buy(session).sent;
    rig.store.recordHandOverFailure(name, failure, { ...limits, again: false });
    const { json } = await rig.ask("GET", `/v1/orders/${id}`);
    assert.deepEqual([json.state, json.reason], ["failed", failure.reason]);
    assert.match(String(json.notice), /A person is looking at it now\. You have paid once/);
    const retry = (authorization: string) =>
      rig.ask("POST", `/v1/orders/${id}/retry`, undefined, { authorization });
    const app = await retry(`Bearer ${token}`);
    assert.deepEqual([app.status, app.json.type], [403, "urn:clawpool:problem:scope"]);
    const again = await retry(`Bearer ${operatorToken}`);
    assert.deepEqual([again.status, again.json.state, again.json.notice], [200, "queued", null]);
    assert.deepEqual(rig.queued, [id]);
    const twice = await retry(`Bearer ${operatorToken}`);
    assert.deepEqual([twice.status, twice.json.type], [409, "urn:clawpool:problem:not-failed"]);
    const by = rig.store.auditRows({ subject: id }).filter(({ actor }) => actor === "person:ada");
    assert.deepEqual(
      by.map(({ action }) => action),
      ["flag.order-failed.cleared", "order.queued"],
    );
  });

  it("says 503 and to repeat when Stripe is down, 502 when it refuses", async () => {
    const checkouts = { on: "call", method: "POST", path: "/v1/checkout/sessions" } as const;
    rig.stripe.faults.add({ ...checkouts, effect: { kind: "answer", status: 500 } });
    const down = await rig.ask("POST", "/v1/orders", orderBody());
    assert.deepEqual([down.status, down.headers.get("retry-after")], [503, "5"]);
    rig.stripe.faults.add({ ...checkouts, effect: { kind: "answer", status: 401 } });
    assert.equal((await rig.ask("POST", "/v1/orders", orderBody())).status, 502);
  });

  it("refuses what is no bounded, plain JSON", async () => {
    const cases: [string, string | undefined, Record<string, string>, number][] = [
      ["not JSON", "{", {}, 400],
      ["no body", undefined, {}, 400],
      ["a form", "a=b", { "content-type": "application/x-www-form-urlencoded" }, 415],
      ["compressed", "{}", { "content-encoding": "gzip" }, 415],
      ["too large", `"${"x".repeat(300_000)}"`, {}, 413],
    ];
    for (const [what, body, headers, status] of cases) {
      const answer = await rig.ask("POST", "/v1/orders", body, headers);
      assert.equal(answer.status, status, what);
      assert.match(String(answer.json.type), /^urn:clawpool:problem:/);
    }
    assert.deepEqual(rig.store.orders(), []);
  });

  it("refuses a body that is not UTF-8 and one that ends too early", async () => {
    const send = (bytes: Buffer, length: number) =>
      new Promise<string>((resolve, reject) => {
        const { hostname, port } = new URL(rig.url);
        const socket = connect(Number(port), hostname);
        let answer = "";
        socket.on("data", (chunk) => {
          answer += chunk;
        });
        socket.on("close", () => resolve(answer));
        socket.on("error", reject);
        const head = `POST /v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${length}\r\n\r\n`;
        socket.end(Buffer.concat([Buffer.from(head), bytes]));
      });
    assert.match(await send(Buffer.from([0x22, 0xff, 0x22]), 3), /^HTTP\/1.1 400/);
    assert(!(await send(Buffer.from('{"a"'), 100)).startsWith("HTTP/1.1 2"));
    assert.deepEqual(rig.store.orders(), []);
  });
});

describe("the other routes", () => {
  let rig: ApiRig;
  beforeEach(async () => {
    rig = await startApi();
  });
  afterEach(() => rig.close());

  it("shows the pool without anything secret", async () => {
    makeReady(rig.store, "claw-a");
    await rig.ask("POST", "/v1/orders", orderBody());
    const { status, json } = await rig.ask("GET", "/v1/pool");
    assert.equal(status, 200);
    assert.deepEqual(
      (json.machines as { name: string }[]).map(({ name }) => name),
      ["claw-a"],
    );
    assert.equal((json.orders as unknown[]).length, 1);
    assert.equal(json.orders_next, null);
    for (const secret of ["sk-customer", "pool-token", "controller-key"]) {
      assert(!JSON.stringify(json).includes(secret));
    }
  });

  it("tells health without a token, and that the store cannot be written", async () => {
    const get = async (path: string) => (await fetch(`${rig.url}${path}`)).status;
    assert.deepEqual([await get("/healthz"), await get("/readyz")], [200, 200]);
    const { putSetting } = rig.store;
    rig.store.putSetting = () => {
      throw new Error("disk full");
    };
    assert.equal(await get("/readyz"), 200, "answered from the last look");
    rig.clock.skip(5_000);
    assert.deepEqual([await get("/healthz"), await get("/readyz")], [200, 503]);
    rig.store.putSetting = putSetting;
    rig.clock.skip(5_000);
    assert.equal(await get("/readyz"), 200);
  });

  it("serves a status page that may run its own script and nothing else", async () => {
    const answer = await fetch(rig.url);
    assert.equal(answer.status, 200);
    const policy = answer.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]{44}'; style-src 'sha256-/);
    assert(!policy.includes("unsafe"));
    const html = await answer.text();
    for (const tag of ["script", "style"]) {
      const [, text = ""] = new RegExp(`<${tag}>(.*?)</${tag}>`, "s").exec(html) ?? [];
      const digest = createHash("sha256").update(text).digest("base64");
      assert(policy.includes(`${tag}-src 'sha256-${digest}'`), tag);
      if (tag === "script") new Script(text);
    }
    assert(
      !/\son[a-z]+=|style=|https?:\/\//.test(html),
      "nothing inline that the policy would stop, nothing foreign",
    );
  });

  it("puts security headers on every answer", async () => {
    for (const path of ["/healthz", "/v1/pool", "/"]) {
      const { headers } = await fetch(`${rig.url}${path}`);
      assert.equal(headers.get("x-content-type-options"), "nosniff", path);
      assert.equal(headers.get("cache-control"), "no-store", path);
      assert.match(headers.get("content-security-policy") ?? "", /frame-ancestors 'none'/, path);
    }
  });
});

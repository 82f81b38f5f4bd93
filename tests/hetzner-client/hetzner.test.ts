import { strict as assert } from "node:assert";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createBudget } from "../../pool/cloud/budget.ts";
import type { Cloud } from "../../pool/cloud/cloud.ts";
import { createCloud } from "../../pool/cloud/hetzner.ts";
import { BorderError } from "../../pool/errors.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { shapes } from "../gate/upstream.ts";
import { fastClock, VirtualClock } from "../virtual-clock.ts";

type Handler = (url: URL, response: ServerResponse, message: IncomingMessage) => void;

describe("Hetzner client", () => {
  let handler: Handler;
  let endpoint: string;
  let asked: string[];
  const server = createServer((message, response) => {
    const url = new URL(message.url ?? "/", "http://x");
    asked.push(`${message.method} ${url.pathname}${url.search}`);
    handler(url, response, message);
  });
  before(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  });
  after(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  beforeEach(() => {
    asked = [];
  });

  function client(deadlineMs?: number): Cloud {
    const clock = fastClock(20);
    const budget = createBudget({ requestsPerHour: 3_600, clock });
    return createCloud({ endpoint, token: new Secret("t".repeat(64)), budget, clock, deadlineMs });
  }
  const reply = (response: ServerResponse, status: number, value: unknown): void => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(value));
  };
  const failure = (response: ServerResponse, status: number, code: string): void =>
    reply(response, status, { error: { code, message: "why", details: null } });
  const page = (key: string, items: unknown[], next: number | null = null) => ({
    [key]: items,
    meta: { pagination: { next_page: next } },
  });

  it("reads a server, and null when Hetzner says that there is none", async () => {
    handler = (url, response) =>
      url.pathname === "/v1/servers/7"
        ? reply(response, 200, { server: { ...shapes.server, id: 7 } })
        : failure(response, 404, "not_found");
    assert.deepEqual(await client().server(7), {
      id: 7,
      name: "m-0001",
      status: "running",
      ipv4: "203.0.113.4",
      ipv4Id: 1_000_005,
      location: "fsn1",
      serverType: "cx23",
      labels: { "managed-by": "poold", pool: "small" },
      createdAt: Date.parse("2026-11-21T07:11:31Z"),
      isProtected: false,
    });
    assert.equal(await client().server(8), null);
  });

  it("does not take a bare 404 for word that a server is gone", async () => {
    handler = (_url, response) => {
      response.writeHead(404, { "content-type": "text/html" });
      response.end("<html>404</html>");
    };
    await assert.rejects(client().server(8), (error) => {
      assert.ok(error instanceof BorderError);
      assert.deepEqual([error.border, error.kind, error.code], ["cloud", "permanent", "http_404"]);
      return true;
    });
  });

  it("follows pages and passes the label selector on", async () => {
    handler = (url, response) => {
      const number = Number(url.searchParams.get("page"));
      const servers = [{ ...shapes.server, id: number, name: `claw-${number}` }];
      reply(response, 200, page("servers", servers, number < 3 ? number + 1 : null));
    };
    const servers = await client().servers("managed-by=clawpool,instance in (a,b)");
    assert.deepEqual(
      servers.map((each) => each.name),
      ["claw-1", "claw-2", "claw-3"],
    );
    const query = new URL(asked[0]?.slice(4) ?? "", "http://x").searchParams;
    assert.equal(query.get("label_selector"), "managed-by=clawpool,instance in (a,b)");
    assert.equal(query.get("per_page"), "50");
  });

  it("stops at an API that names the same page again", async () => {
    handler = (_url, response) => reply(response, 200, page("servers", [], 1));
    await assert.rejects(client().servers("a=b"), /next page 1/);
  });

  it("finds by exact name only", async () => {
    handler = (_url, response) =>
      reply(response, 200, page("servers", [{ ...shapes.server, name: "claw-abc" }]));
    assert.equal(await client().serverByName("claw-ab"), null);
    assert.equal((await client().serverByName("claw-abc"))?.name, "claw-abc");
  });

  it("reads where a type can be had", async () => {
    handler = (_url, response) => reply(response, 200, page("server_types", [shapes.serverType]));
    assert.deepEqual(await client().serverTypes(), [
      {
        name: "cx23",
        availableIn: ["fsn1"],
      },
    ]);
  });

  it("reads the locations", async () => {
    handler = (_url, response) => reply(response, 200, page("locations", [shapes.location]));
    assert.deepEqual(await client().locations(), ["fsn1"]);
  });

  it("repeats what may pass: cut connections, 429, 5xx", async () => {
    let tries = 0;
    handler = (_url, response, message) => {
      tries += 1;
      if (tries === 1) message.socket.destroy();
      else if (tries === 2) failure(response, 429, "rate_limit_exceeded");
      else if (tries === 3) failure(response, 503, "unavailable");
      else reply(response, 200, page("locations", [shapes.location]));
    };
    assert.deepEqual(await client(3_600_000).locations(), ["fsn1"]);
    assert.equal(tries, 4);
  });

  it("gives up at its deadline with a transient error", async () => {
    handler = (_url, response) => failure(response, 503, "unavailable");
    await assert.rejects(client(2_000).locations(), (error) => {
      assert.ok(error instanceof BorderError);
      assert.deepEqual([error.kind, error.code], ["transient", "unavailable"]);
      return true;
    });
    assert.ok(asked.length > 1);
  });

  it("does not wait for ever for an answer", async () => {
    const clock = new VirtualClock();
    const budget = createBudget({ requestsPerHour: 3_600, clock });
    const cloud = createCloud({ endpoint, token: new Secret("t"), budget, clock, deadlineMs: 1_000 });
    const arrived = new Promise<void>((resolve) => {
      handler = () => resolve();
    });
    const answer = assert.rejects(cloud.server(1), (error) => {
      assert.ok(error instanceof BorderError);
      assert.deepEqual([error.kind, error.code], ["transient", "no_answer"]);
      return true;
    });
    await arrived;
    await clock.advance(10_000);
    await answer;
  });

  it("refuses an answer that is not shaped as described, and names the field", async () => {
    handler = (_url, response) => reply(response, 200, { server: { ...shapes.server, id: "seven" } });
    await assert.rejects(client().server(7), (error) => {
      assert.ok(error instanceof BorderError);
      assert.deepEqual([error.kind, error.code], ["permanent", "unexpected_answer"]);
      assert.match(error.message, /server\.id/);
      return true;
    });
  });

  it("keeps the token out of every error", async () => {
    handler = (_url, response) => failure(response, 401, "unauthorized");
    await assert.rejects(client().server(7), (error) => {
      assert.ok(error instanceof BorderError);
      assert.equal(error.kind, "auth");
      assert.ok(!String(error.stack).includes("tttttt"));
      return true;
    });
  });
});

/** The last look before a delete, and the delete, over a wire that a test speaks for. */
import { strict as assert } from "node:assert";
import type { Orphan } from "../../pool/cloud/cloud.ts";
import { deleteOrphan } from "../../pool/cloud/gate/orphan.ts";
import type { Answer, Sent } from "../../pool/cloud/wire.ts";
import { BorderError } from "../../pool/errors.ts";
import { ownLabels } from "../../pool/machine/labels.ts";
import { fastClock } from "../virtual-clock.ts";
import { memoryLedger } from "./rig.ts";

const json = (status: number, body: unknown): Answer => ({
  kind: "answer",
  status,
  contentType: "application/json",
  correlationId: null,
  retryAfterMs: null,
  body: JSON.stringify(body),
});
const failure = (status: number, code: string) => json(status, { error: { code, message: code } });

describe("the gate's delete of an orphan", () => {
  let asked: string[];
  let answers: Record<string, Sent>;
  let rows: Parameters<typeof memoryLedger>[0];

  const labels = ownLabels("test");
  const server: Orphan = { kind: "server", id: 7, name: "claw-test-stray", labels };
  const shown = {
    id: 7,
    name: "claw-test-stray",
    labels: { ...labels, pool: "small" },
    protection: { delete: false },
  };
  const volume: Orphan = { kind: "volume", id: 8, name: "data", labels };

  beforeEach(() => {
    asked = [];
    rows = {};
    answers = {
      "GET /servers/7": json(200, { server: shown }),
      "DELETE /servers/7": json(200, { action: null }),
      "GET /volumes/8": json(200, { volume: { id: 8, name: "data", labels, server: null } }),
      "DELETE /volumes/8": { ...json(204, null), contentType: null, body: "" },
    };
  });

  const run = (orphan: Orphan) => {
    const clock = fastClock(50);
    const until = clock.now() + 5_000;
    return deleteOrphan(orphan, {
      wire: {
        async send({ method, path }) {
          asked.push(`${method} ${path}`);
          return answers[`${method} ${path}`] ?? assert.fail(`${method} ${path}`);
        },
      },
      clock,
      ledger: memoryLedger(rows),
      deadline: () => until,
      priority: "person",
      repaired: () => {},
    });
  };
  const refused = (why: RegExp) => (error: unknown) => {
    assert.ok(error instanceof BorderError);
    assert.deepEqual([error.kind, error.code], ["permanent", "not-orphan"]);
    assert.match(error.message, why);
    assert.ok(
      asked.every((call) => call.startsWith("GET ")),
      "nothing was deleted",
    );
    return true;
  };

  it("looks once more, then deletes", async () => {
    assert.equal(await run(server), "asked");
    assert.deepEqual(asked, ["GET /servers/7", "DELETE /servers/7"]);
    assert.equal(await run(volume), "asked");
    assert.deepEqual(asked.slice(2), ["GET /volumes/8", "DELETE /volumes/8"]);
  });

  it("is done when it is gone already, before the look or before the delete", async () => {
    answers["GET /servers/7"] = failure(404, "not_found");
    assert.equal(await run(server), "gone");
    assert.deepEqual(asked, ["GET /servers/7"]);
    answers["GET /servers/7"] = json(200, { server: shown });
    answers["DELETE /servers/7"] = failure(404, "not_found");
    assert.equal(await run(server), "gone");
  });

  it("does not take a bare 404 for an answer", async () => {
    answers["GET /servers/7"] = { ...failure(404, "x"), contentType: "text/html" };
    await assert.rejects(run(server), /http_404/);
  });

  for (const [what, change, why] of [
    ["lost its labels", { labels: {} }, /its label managed-by is gone now/],
    ["is another installation's now", { labels: ownLabels("other") }, /clawpool-instance is other now/],
    ["has another name", { name: "database" }, /it is called "database" now/],
    ["was protected", { protection: { delete: true } }, /somebody has protected it/],
    ["is shown without labels at all", { labels: null }, /does not show it as described/],
  ] as const) {
    it(`refuses a server that ${what}`, async () => {
      answers["GET /servers/7"] = json(200, { server: { ...shown, ...change } });
      await assert.rejects(run(server), refused(why));
    });
  }

  it("refuses what is attached to a server", async () => {
    answers["GET /volumes/8"] = json(200, { volume: { id: 8, name: "data", labels, server: 5 } });
    await assert.rejects(run(volume), refused(/it is attached to server 5/));
  });

  it("refuses what a row has come to know, by id or by name, and not what a destroyed one knew", async () => {
    rows = { "claw-test-one": { serverId: 7, state: "serving" } };
    await assert.rejects(run(server), refused(/it is machine claw-test-one, which is serving/));
    rows = { "claw-test-stray": { serverId: null, state: "creating" } };
    await assert.rejects(run(server), refused(/claw-test-stray, which is creating/));
    rows = { "claw-test-stray": { serverId: 7, state: "destroyed" } };
    assert.equal(await run(server), "asked");
  });

  it("hands Hetzner's refusal on", async () => {
    answers["DELETE /servers/7"] = failure(423, "protected");
    await assert.rejects(run(server), (error) => error instanceof BorderError && error.code === "protected");
  });
});

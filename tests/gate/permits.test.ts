import { strict as assert } from "node:assert";
import fc from "fast-check";
import type { RunPermit } from "../../pool/cloud/cloud.ts";
import { decide, type JudgedPermit, judge, type Row } from "../../pool/cloud/gate/permits.ts";
import { classify, type GateRequest, platformCollections } from "../../pool/cloud/gate/request.ts";
import { machineStates } from "../../pool/machine/machine.ts";

const name = fc.constantFrom("claw-a", "claw-b");
const id = fc.constantFrom(7, 8);
const machinePermit: fc.Arbitrary<JudgedPermit & { kind: "machine" }> = fc.record({
  kind: fc.constant("machine" as const),
  machine: name,
  actor: fc.constant("test"),
  create: fc.boolean(),
  update: fc.boolean(),
  destroy: fc.boolean(),
  power: fc.boolean(),
  priority: fc.constantFrom("hand-over", "destroy", "refill", "person"),
});
const platformPermit: fc.Arbitrary<JudgedPermit & { kind: "platform" }> = fc.record({
  kind: fc.constant("platform" as const),
  actor: fc.constant("test"),
  destroy: fc.boolean(),
  priority: fc.constantFrom("refill", "person"),
});
const row: fc.Arbitrary<Row> = fc.option(
  fc.record({
    state: fc.oneof(fc.constantFrom("planned", "creating"), fc.constantFrom(...machineStates)),
    serverId: fc.option(id, { freq: 2 }),
    order: fc.option(fc.constant("order")),
    mayDestroy: fc.boolean(),
  }),
);
const action = fc.constantFrom(
  "attach_to_network",
  "attach_to_network",
  "poweroff",
  "shutdown",
  "poweron",
  "rebuild",
  "change_type",
  "reset_password",
  "enable_rescue",
  "change_protection",
  "set_rules",
  "remove_from_resources",
  "delete_subnet",
  "constructor",
  "__proto__",
);
const segment = fc.oneof(
  fc.constantFrom("servers", "ssh_keys", "firewalls", "networks", "placement_groups", "actions", "volumes"),
  fc.constantFrom("7", "8", "0", "-1", "1e3", "99999999999999999999"),
  action,
);
/** Any method on any path, as it comes off the wire. */
const request: fc.Arbitrary<{ method: string; request: GateRequest }> = fc
  .record({
    method: fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"),
    path: fc.array(segment, { minLength: 1, maxLength: 5 }).map((parts) => `/${parts.join("/")}`),
    query: fc.constantFrom("", "id=7", "name=claw-a"),
    body: fc.oneof(
      fc.json(),
      fc.string(),
      name.map((text) => JSON.stringify({ name: text })),
    ),
  })
  .map(({ method, path, query, body }) => ({
    method,
    request: classify(method, path, new URLSearchParams(query), body),
  }));

/** What mostly matters: well-formed writes, which random paths rarely hit. */
const write: fc.Arbitrary<{ method: string; request: GateRequest }> = fc
  .oneof(
    fc.record({
      kind: fc.constant("create-server" as const),
      order: fc.option(fc.record({ name, labels: fc.constant({}) })),
    }),
    fc.record({ kind: fc.constant("update-server" as const), id, name: fc.option(name) }),
    fc.record({ kind: fc.constant("delete-server" as const), id }),
    fc.record({ kind: fc.constant("server-action" as const), id, action }),
    fc.record({
      kind: fc.constantFrom(
        "platform-create" as const,
        "platform-update" as const,
        "platform-delete" as const,
      ),
      collection: fc.constantFrom(...platformCollections),
      id,
    }),
    fc.record({
      kind: fc.constant("platform-action" as const),
      collection: fc.constantFrom(...platformCollections),
      id,
      action,
    }),
  )
  .map((drawn) => ({ method: "POST", request: drawn }));

const table = fc.record({
  permit: fc.oneof({ weight: 3, arbitrary: machinePermit }, { weight: 1, arbitrary: platformPermit }),
  request: fc.oneof({ weight: 3, arbitrary: write }, { weight: 1, arbitrary: request }),
  row,
});
/** The check says whether it was about this draw at all; one that never is fails. */
function holds(
  check: (permit: JudgedPermit, request: GateRequest, row: Row, method: string) => boolean,
): void {
  let applied = 0;
  fc.assert(
    fc.property(table, ({ permit, request: { request: asked, method }, row: current }) => {
      if (check(permit, asked, current, method)) applied += 1;
    }),
    { numRuns: 25_000 },
  );
  assert.ok(applied >= 5, `the property was only put to the test ${applied} times`);
}

const peoplePermit: fc.Arbitrary<RunPermit & { kind: "people" }> = fc.record({
  kind: fc.constant("people" as const),
  machines: fc.uniqueArray(name),
  platform: fc.boolean(),
  actor: fc.constant("test"),
  update: fc.boolean(),
  destroy: fc.boolean(),
  priority: fc.constant("person" as const),
});

describe("permits", () => {
  it("let every GET through and no method that Hetzner does not have", () => {
    holds((permit, asked, current, method) => {
      const { allowed } = decide(permit, asked, current);
      if (method === "GET") assert.equal(allowed, true);
      const foreign = !["GET", "POST", "PUT", "DELETE"].includes(method);
      if (foreign) assert.equal(allowed, false);
      return method === "GET" || foreign;
    });
  });

  it("let nothing delete or rebuild a server without both keys, the run's and the row's", () => {
    holds((permit, asked, current) => {
      const destroys =
        asked.kind === "delete-server" || (asked.kind === "server-action" && asked.action === "rebuild");
      if (!destroys || !decide(permit, asked, current).allowed) return false;
      assert.ok(permit.kind === "machine" && permit.destroy && current?.mayDestroy);
      return true;
    });
  });

  it("let nothing interrupt the server of a live order, but its suspension", () => {
    holds((permit, asked, current) => {
      if (asked.kind !== "server-action" || !current?.order || current.mayDestroy) return false;
      if (!decide(permit, asked, current).allowed) return false;
      const off = asked.action === "shutdown" || asked.action === "poweroff";
      if (off) assert.ok(permit.kind === "machine" && permit.power && current.state === "suspending");
      else assert.ok(["attach_to_network", "poweron"].includes(asked.action), asked.action);
      return true;
    });
  });

  it("let a server be made only for the permit's machine, with an open row that has none yet", () => {
    holds((permit, asked, current) => {
      if (asked.kind !== "create-server" || !decide(permit, asked, current).allowed) return false;
      assert.ok(permit.kind === "machine" && permit.create);
      assert.equal(asked.order?.name, permit.machine);
      assert.ok(current && current.serverId === null && ["planned", "creating"].includes(current.state));
      return true;
    });
  });

  it("let no write reach a server that is not the row's", () => {
    holds((permit, asked, current) => {
      const writes = ["update-server", "delete-server", "server-action"].includes(asked.kind);
      if (!writes || !("id" in asked) || !decide(permit, asked, current).allowed) return false;
      assert.equal(asked.id, current?.serverId);
      return true;
    });
  });

  it("keep machines' runs off the platform and the platform's runs off servers", () => {
    holds((permit, asked, current) => {
      if (["actions", "read", "read-server", "unknown"].includes(asked.kind)) return false;
      if (!decide(permit, asked, current).allowed) return false;
      assert.equal(permit.kind, asked.kind.startsWith("platform-") ? "platform" : "machine");
      return true;
    });
  });

  it("say protected for a live order, whether or not the run could destroy", () => {
    const live = { state: "serving", serverId: 7, order: "order", mayDestroy: false };
    for (const destroy of [true, false]) {
      const permit = { ...fc.sample(machinePermit, 1)[0], machine: "claw-a", destroy } as JudgedPermit;
      assert.deepEqual(decide(permit, { kind: "delete-server", id: 7 }, live), {
        allowed: false,
        status: 423,
        code: "protected",
        reason: "the order of this machine is live",
      });
    }
  });

  it("switch the server of a live order off only while its row is suspending, and only with the permit for that", () => {
    const permit = { kind: "machine", machine: "claw-a", actor: "test", priority: "destroy" } as const;
    const none = { create: false, update: false, destroy: false };
    const act = (state: string, action: string, may: object, serverId = 7) =>
      decide(
        { ...permit, ...none, ...may },
        { kind: "server-action", id: 7, action },
        {
          state,
          serverId,
          order: "order",
          mayDestroy: false,
        },
      ).allowed;
    for (const action of ["shutdown", "poweroff"]) {
      for (const state of machineStates) {
        assert.equal(act(state, action, { power: true }), state === "suspending", `${action} while ${state}`);
        assert.equal(act(state, action, { update: true, destroy: true }), false);
      }
      assert.equal(act("suspending", action, { power: true }, 8), false, "another machine's server");
    }
    assert.equal(act("resuming", "poweron", { power: true }), true);
    for (const action of ["reboot", "reset", "rebuild", "change_type"]) {
      assert.equal(act("suspending", action, { power: true }), false, action);
    }
  });

  it("keep the server's name, which a lost order is found by", () => {
    const live = { state: "serving", serverId: 7, order: null, mayDestroy: false };
    const permit = { ...fc.sample(machinePermit, 1)[0], machine: "claw-a", update: true } as JudgedPermit;
    const put = (body: string) =>
      decide(permit, classify("PUT", "/servers/7", new URLSearchParams(), body), live);
    assert.equal(put('{"labels":{"a":"b"}}').allowed, true);
    assert.equal(put('{"name":"claw-a"}').allowed, true);
    assert.equal(put('{"name":"other"}').allowed, false);
    assert.equal(put('{"name":7}').allowed, false);
    assert.equal(put("not json").allowed, false);
  });

  describe("of a person's command", () => {
    /** Server 7 is claw-a's and 8 claw-b's, as far as the rows say so. */
    const ledger: fc.Arbitrary<Record<string, Row>> = fc.record({ "claw-a": row, "claw-b": row });
    const ownerOf = (rows: Record<string, Row>) => (server: number) =>
      Object.keys(rows).find((key) => rows[key]?.serverId === server) ?? null;

    it("allow nothing that neither a named machine's permit nor the platform's allows, and no new server", () => {
      let allowed = 0;
      fc.assert(
        fc.property(
          peoplePermit,
          fc.oneof({ weight: 3, arbitrary: write }, { weight: 1, arbitrary: request }),
          ledger,
          (permit, { request: asked }, rows) => {
            const judged = judge(permit, asked, ownerOf(rows));
            const own = judged?.kind === "machine" ? rows[judged.machine] : null;
            if (!judged || !decide(judged, asked, own ?? null).allowed) return;
            if (["actions", "read", "read-server"].includes(asked.kind)) return;
            allowed += 1;
            assert.notEqual(asked.kind, "create-server");
            const { actor, update, destroy, priority } = permit;
            const machines = permit.machines.map((machine) =>
              decide(
                { kind: "machine", machine, actor, create: false, update, destroy, priority },
                asked,
                rows[machine] ?? null,
              ),
            );
            const platform = permit.platform
              ? [decide({ kind: "platform", actor, destroy, priority }, asked, null)]
              : [];
            assert.ok([...machines, ...platform].some((decision) => decision.allowed));
          },
        ),
        { numRuns: 25_000 },
      );
      assert.ok(allowed >= 100, `the property was only put to the test ${allowed} times`);
    });

    it("allow no write at all to a command that only looks", () => {
      fc.assert(
        fc.property(peoplePermit, write, ledger, (permit, { request: asked }, rows) => {
          const looking = { ...permit, update: false, destroy: false };
          const judged = judge(looking, asked, ownerOf(rows));
          const own = judged?.kind === "machine" ? rows[judged.machine] : null;
          assert.ok(!judged || !decide(judged, asked, own ?? null).allowed);
        }),
        { numRuns: 5_000 },
      );
    });

    it("destroy a named machine whose row allows it, and no other", () => {
      const idle = { state: "ready", serverId: 7, order: null, mayDestroy: true };
      const owner = (server: number) => (server === 7 ? "claw-a" : null);
      const permit = {
        kind: "people",
        machines: ["claw-a"],
        platform: false,
        actor: "test",
        update: true,
        destroy: true,
        priority: "person",
      } as const;
      const own = judge(permit, { kind: "delete-server", id: 7 }, owner);
      assert.ok(own && decide(own, { kind: "delete-server", id: 7 }, idle).allowed);
      assert.equal(judge({ ...permit, machines: ["claw-b"] }, { kind: "delete-server", id: 7 }, owner), null);
      assert.equal(judge(permit, { kind: "delete-server", id: 8 }, owner), null);
      const key = { kind: "platform-delete", collection: "ssh_keys", id: 7 } as const;
      assert.equal(judge(permit, key, owner), null);
      assert.equal(judge({ ...permit, platform: true }, key, owner)?.kind, "platform");
    });
  });
});

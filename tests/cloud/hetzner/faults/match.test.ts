import assert from "node:assert/strict";
import { Faults } from "../faults.ts";
import type { Subject } from "./match.ts";
import type { FaultInput } from "./schema.ts";

describe("Hetzner emulator: what a fault hits", () => {
  const order: Subject = {
    project: 1,
    method: "POST",
    path: "/servers",
    query: new URLSearchParams("a=1&a=2"),
    body: { name: "m-1", labels: { role: "x" }, public_net: { enable_ipv4: false }, ssh_keys: [1] },
    server: { name: "m-1", type: "cx23", location: "fsn1" },
  };
  const drop = { kind: "drop" } as const;

  function hits(fault: Partial<FaultInput>, subject: Subject = order): boolean {
    const faults = new Faults(1, () => 0);
    faults.add({ path: "/servers", effect: drop, ...fault });
    return faults.onRequest(subject).effect !== null;
  }

  it("has the method, the path with its stars, the project", () => {
    assert.ok(hits({ method: "POST", path: "/*", project: 1 }));
    for (const other of [
      { method: "GET" },
      { path: "/servers/*" },
      { path: "/server" },
      { project: 2 },
    ] as const) {
      assert.equal(hits(other), false, JSON.stringify(other));
    }
    assert.equal(hits({ project: 1 }, { ...order, project: null }), false);
  });

  it("has the fields of the body, one of several values, and parameters that may be repeated", () => {
    assert.ok(hits({ body: { name: "m-1", "labels.role": ["y", "x"], "public_net.enable_ipv4": false } }));
    assert.ok(hits({ query: { a: "2" } }));
    const others: Partial<FaultInput>[] = [
      { body: { name: "m-2" } },
      { body: { nothing: "undefined" } },
      { body: { "name.length": 3 } },
      { body: { "labels.toString": "x" } },
      { query: { a: "3" } },
    ];
    for (const other of others) assert.equal(hits(other), false, JSON.stringify(other));
    assert.equal(hits({ body: { name: "m-1" } }, { ...order, body: null }), false);
  });

  it("has the server, whatever names it", () => {
    assert.ok(hits({ server: { name: "m-*", type: "cx23", location: "fsn1" } }));
    assert.equal(hits({ server: { type: "cx33" } }), false);
    assert.equal(hits({ server: { location: "nbg1" } }), false);
    assert.equal(hits({ server: {} }, { ...order, server: null }), false);
    for (const [pattern, matched] of [
      ["*", true],
      ["m*1", true],
      ["*-*", true],
      ["**m-1", true],
      ["m-", false],
      ["-1", false],
      ["m-1*1", false],
      ["*m-1m-1", false],
    ] as const) {
      assert.equal(hits({ server: { name: pattern } }), matched, pattern);
    }
  });

  it("comes after those it lets through, so often, or for ever", () => {
    const faults = new Faults(1, () => 0);
    const struck = () => faults.onRequest(order).id;
    const first = faults.add({ path: "/servers", skip: 1, times: 2, effect: drop });
    assert.deepEqual([struck(), struck(), struck(), struck()], [null, first, first, null]);
    const always = faults.add({ path: "/servers", times: null, effect: drop });
    for (let index = 0; index < 50; index++) assert.equal(struck(), always);
    assert.equal(faults.remove(always), true);
    assert.equal(struck(), null);
    assert.equal(faults.remove(always), false);
  });

  it("is a part of them, the same part for the same seed", () => {
    const drawn = (seed: number) => {
      const faults = new Faults(seed, () => 0);
      faults.add({ path: "/servers", times: null, probability: 0.3, effect: drop });
      return Array.from({ length: 1_000 }, () => faults.onRequest(order).effect !== null);
    };
    const first = drawn(1);
    assert.deepEqual(drawn(1), first);
    assert.notDeepEqual(drawn(2), first);
    const share = first.filter(Boolean).length / 1_000;
    assert.ok(share > 0.25 && share < 0.35, String(share));
  });

  it("adds delays up, and spends no fault behind the one that ended the request", () => {
    const faults = new Faults(1, () => 7);
    faults.add({ path: "/servers", effect: { kind: "delay", ms: 5 } });
    faults.add({ path: "/servers", effect: { kind: "delay", ms: 6, when: "after" } });
    const end = faults.add({ path: "/servers", effect: { kind: "error", code: "locked" } });
    const behind = faults.add({ path: "/servers", effect: drop });
    const { delays, effect, id } = faults.onRequest(order);
    assert.deepEqual([delays, effect?.kind, id], [{ before: 5, after: 6 }, "error", end]);
    assert.equal(faults.list().find((fault) => fault.id === behind)?.hits, 0);
    assert.deepEqual(faults.log(), [
      ...["delay", "delay", "error"].map((kind, index) => ({
        ...{ time: 7, fault: index + 1, effect: kind, project: 1 },
        ...{ method: "POST", path: "/servers", command: null, server: "m-1" },
      })),
    ]);
  });

  it("is refused when it makes no sense", () => {
    const faults = new Faults(1, () => 0);
    for (const wrong of [
      { effect: drop },
      { path: "servers", effect: drop },
      { path: "/servers", command: "start_server", effect: drop },
      { path: "/servers", effect: { kind: "action_hangs" } },
      { command: "make_coffee", effect: { kind: "action_hangs" } },
      { path: "/servers", probability: 0, effect: drop },
      { path: "/servers", probability: 1.1, effect: drop },
      { path: "/servers", typo: true, effect: drop },
      { path: "/servers", effect: { kind: "error", code: "teapot" } },
      { effect: { kind: "machine", fault: "on-fire" } },
    ]) {
      assert.throws(() => faults.add(wrong as FaultInput), { name: "ZodError" }, JSON.stringify(wrong));
    }
    assert.deepEqual(faults.list(), []);
  });
});

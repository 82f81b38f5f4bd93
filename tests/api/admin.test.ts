import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Admin } from "../../api/admin.ts";
import { adminSocket, askDaemon, NoDaemonError, RefusedError } from "../../pool/cli/admin-client.ts";
import { BorderError } from "../../pool/errors.ts";
import type { OrderPage } from "../../pool/order/list.ts";
import type { OrderStory } from "../../pool/order/story.ts";
import { BusyError, type PeopleRequest } from "../../pool/people/people.ts";
import { UnknownPoolError } from "../../pool/refill/stop.ts";
import type { ReconcileRequest } from "../../pool/sweep/stripe.ts";
import { type DeskRig, orderBody, startDesk } from "../order/rig.ts";
import { makeReady } from "../store/rows.ts";
import { adminWith } from "./admin-with.ts";

describe("the admin socket", () => {
  let rig: DeskRig;
  let stateDir: string;
  let admin: Admin;
  let listening: { close(): Promise<void> };
  const begun: PeopleRequest[] = [];
  const ended: [string, number | null][] = [];
  const reconciled: ReconcileRequest[] = [];
  const resumed: [string | null, string][] = [];
  const held: [string, string | null, string][] = [];

  beforeEach(async () => {
    rig = await startDesk();
    stateDir = mkdtempSync(join(tmpdir(), "clawpool-admin-"));
    begun.length = 0;
    ended.length = 0;
    reconciled.length = 0;
    resumed.length = 0;
    held.length = 0;
    const people = {
      begin(request: PeopleRequest) {
        if (request.stacks.includes("busy")) throw new BusyError("the daemon works on busy now");
        if (request.stacks.includes("none")) throw new Error("there is no stack none");
        begun.push(request);
        return { id: "g1", endpoint: "http://127.0.0.1:1/v1", token: "t", stacks: {} as never };
      },
      end: (id: string, exitCode: number | null) => void ended.push([id, exitCode]),
    };
    const stripeSweep = {
      async reconcile(request: ReconcileRequest) {
        if (request.actor === "nobody")
          throw new BorderError("no answer", { border: "stripe", kind: "transient" });
        reconciled.push(request);
        return { findings: [], since: 1, sessions: 2, subscriptions: 3, gaps: [] };
      },
    };
    const status = () => ({ instance: "test", pools: [], quarantine: null, flags: [] });
    const resume = (pool: string | null, actor: string) => {
      if (pool === "none") throw new UnknownPoolError("there is no pool none");
      resumed.push([pool, actor]);
      return [{ pool: "small", stopped: "why", specimens: [] }];
    };
    admin = adminWith({
      stateDir,
      store: rig.store,
      status,
      people,
      desk: rig.desk,
      stripeSweep,
      resume,
      rollout: (action, pool, actor) => {
        held.push([action, pool, actor]);
        return [];
      },
    });
    listening = await admin.listen();
  });
  afterEach(async () => {
    await listening.close();
    await rig.close();
    rmSync(stateDir, { recursive: true });
  });

  it("can be opened by its owner alone", () => {
    assert.equal(statSync(adminSocket(stateDir)).mode & 0o777, 0o600);
  });

  it("answers with status, orders, machines, and one machine with its history", async () => {
    makeReady(rig.store, "claw-a");
    const { id } = await rig.desk.create(orderBody());
    assert.deepEqual(await askDaemon(stateDir, "GET", "/status"), {
      instance: "test",
      pools: [],
      quarantine: null,
      flags: [],
    });
    const { orders, next } = await askDaemon<OrderPage>(stateDir, "GET", "/orders");
    assert.deepEqual([orders.map((order) => order.id), next], [[id], null]);
    const story = await askDaemon<OrderStory>(stateDir, "GET", `/orders/${id}`);
    assert.deepEqual([story.order.state, story.attempts, story.machines], ["awaiting-payment", [], []]);
    assert.deepEqual(
      story.audit.map(({ action }) => action),
      ["order.created", "order.changed"],
    );
    const [machine] = await askDaemon<{ name: string }[]>(stateDir, "GET", "/machines");
    assert.equal(machine?.name, "claw-a");
    const shown = await askDaemon<{ state: string; history: unknown[] }>(stateDir, "GET", "/machines/claw-a");
    assert.equal(shown.state, "ready");
    assert(shown.history.length >= 5);
    const none = askDaemon(stateDir, "GET", "/machines/none");
    await assert.rejects(none, (error) => error instanceof RefusedError && error.status === 404);
    const early = askDaemon(stateDir, "POST", `/orders/${id}/retry`, { actor: "person:ada" });
    await assert.rejects(early, /is awaiting-payment; only failed orders are started again/);
  });

  it("passes people's work on, and says who holds a machine", async () => {
    const request = { command: "diff", stacks: ["claw-a"], actor: "ada" };
    assert.equal((await askDaemon<{ id: string }>(stateDir, "POST", "/people/begin", request)).id, "g1");
    await askDaemon(stateDir, "POST", "/people/end", { id: "g1", exitCode: null });
    assert.deepEqual([begun, ended], [[request], [["g1", null]]]);
    for (const [stack, status, text] of [
      ["busy", 409, /the daemon works on busy/],
      ["none", 422, /no stack none/],
    ] as const) {
      await assert.rejects(
        askDaemon(stateDir, "POST", "/people/begin", { ...request, stacks: [stack] }),
        (error) => error instanceof RefusedError && error.status === status && text.test(error.message),
      );
    }
    for (const body of [{}, { ...request, stacks: "claw-a" }, { ...request, extra: 1 }]) {
      await assert.rejects(
        askDaemon(stateDir, "POST", "/people/begin", body),
        (error) => error instanceof RefusedError && error.status === 422,
      );
    }
  });

  it("passes on who holds roll-outs, and refuses what is not known", async () => {
    const actor = "person:ada";
    assert.deepEqual(
      await askDaemon(stateDir, "POST", "/rollout", { action: "pause", pool: null, actor }),
      [],
    );
    assert.deepEqual(held, [["pause", null, actor]]);
    await assert.rejects(
      askDaemon(stateDir, "POST", "/rollout", { action: "undo", pool: null, actor }),
      /action/,
    );
  });

  it("passes a resume on with its actor, and says which pool there is not", async () => {
    const answer = await askDaemon(stateDir, "POST", "/resume", { pool: null, actor: "person:ada" });
    assert.deepEqual(answer, [{ pool: "small", stopped: "why", specimens: [] }]);
    assert.deepEqual(resumed, [[null, "person:ada"]]);
    for (const [body, status] of [
      [{ pool: "none", actor: "person:ada" }, 404],
      [{ pool: "small" }, 422],
      [{ pool: 1, actor: "a" }, 422],
    ] as const) {
      await assert.rejects(
        askDaemon(stateDir, "POST", "/resume", body),
        (error) => error instanceof RefusedError && error.status === status,
      );
    }
    assert.equal(resumed.length, 1);
  });

  it("passes a wish to compare with Stripe on, and says when Stripe could not be asked", async () => {
    const ask = (body: unknown) => askDaemon(stateDir, "POST", "/reconcile/stripe", body);
    const request = { dryRun: true, sinceMs: 3_600_000, actor: "person:ada" };
    const report = { findings: [], since: 1, sessions: 2, subscriptions: 3, gaps: [] };
    assert.deepEqual(await ask(request), report);
    assert.deepEqual(reconciled, [request]);
    for (const [body, status] of [
      [{ ...request, actor: "nobody" }, 502],
      [{ ...request, sinceMs: 1 }, 422],
      [{ ...request, sinceMs: 91 * 86_400_000 }, 422],
      [{ actor: "person:ada" }, 422],
    ] as const) {
      await assert.rejects(ask(body), (error) => error instanceof RefusedError && error.status === status);
    }
  });

  it("takes over a socket that was left behind, and that of a daemon that hangs", async () => {
    const hung = listening;
    listening = await admin.listen();
    assert.equal((await askDaemon<{ instance: string }>(stateDir, "GET", "/status")).instance, "test");
    await listening.close();
    await hung.close();
    await assert.rejects(askDaemon(stateDir, "GET", "/status"), NoDaemonError);
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(adminSocket(stateDir), resolve));
    // Stops answering and leaves the file, as a killed process does.
    const path = adminSocket(stateDir);
    const { renameSync } = await import("node:fs");
    renameSync(path, `${path}.kept`);
    await new Promise<void>((resolve) => dead.close(() => resolve()));
    renameSync(`${path}.kept`, path);
    listening = await admin.listen();
    assert.deepEqual(await askDaemon(stateDir, "GET", "/status"), {
      instance: "test",
      pools: [],
      quarantine: null,
      flags: [],
    });
  });
});

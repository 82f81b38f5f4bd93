/** P2-P6, D9: the process and its host, on the local cloud. */
import { strict as assert } from "node:assert";
import { readFileSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { execa } from "execa";
import { Stripe } from "stripe";
import { type LeaseRows, leaseRows } from "../../pool/store/lease.ts";
import { storeFile } from "../../pool/store/store-file.ts";
import { clawpoolArgs, nodeArgs, startDaemonProcess } from "../cloud/daemon-process.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";
import { signal, untilTerraformRuns } from "./terraform-processes.ts";
import { createUnit } from "./unit.ts";

const lookEveryMs = 20;
/** Half of what the unit has, so that the test does not take longer than it must. */
const watchdogMs = 10_000;
/** EX_TEMPFAIL: work was left to the next one. */
const unfinished = 75;
const heedless = fileURLToPath(new URL("heedless-daemon-child.ts", import.meta.url));

/** Another host, as far as a process can see: it cannot end the one that hangs here. */
const elsewhere = [
  "unshare",
  ...(process.getuid?.() === 0 ? [] : ["--map-root-user"]),
  ...["--uts", "sh", "-c", 'echo elsewhere > /proc/sys/kernel/hostname && exec "$@"', "sh"],
];

describe("faults: the process and its host, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 3, maxTotal: 24, failurePause: "1s" });
    await rig.ready(3);
  });
  after(() => rig?.stop());

  const fault = onLocalCloud(() => rig);
  const clawpool = (...args: string[]) =>
    execa(process.execPath, clawpoolArgs(rig.rig.operator.configFile, ...args), { reject: false });
  /** How often Hetzner was asked for a server of this name. */
  const bought = (name: string) =>
    rig.rig.cloud.hetzner.bill().lines.filter((line) => line.kind === "server" && line.name === name).length;
  const changes = () => rig.rig.cloud.hetzner.calls().filter(({ method }) => method !== "GET").length;
  const logged = (text: string) =>
    readFileSync(rig.rig.daemon.logFile, "utf8")
      .split("\n")
      .filter((line) => line.includes(text));
  /** What was said of writes that were refused to the daemon of this term. */
  const fenced = (term: number) =>
    logged("another daemon has taken the store over").filter((line) => line.includes(`"term":${term},`));
  /** @returns what `work` makes of the store's lease */
  function withLease<T>(work: (lease: LeaseRows) => T): T {
    const db = new Database(storeFile(rig.rig.operator.stateDir));
    try {
      return work(leaseRows(db));
    } finally {
      db.close();
    }
  }
  const present = (lease: LeaseRows) => lease.read() ?? assert.fail("nobody has the lease");
  /** Looks at what no write of the daemon's tells of. */
  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await delay(lookEveryMs);
  }
  /** A delivery that Stripe has made before, signed anew. @returns the status; null when nobody answered */
  const tell = (url: string, body: string): Promise<number | null> =>
    fetch(`${url}/webhooks/stripe`, { method: "POST", headers: signed(body), body }).then(
      ({ status }) => status,
      () => null,
    );
  const signed = (payload: string) => ({
    "content-type": "application/json; charset=utf-8",
    "stripe-signature": Stripe.webhooks.generateTestHeaderString({
      payload,
      secret: rig.rig.cloud.stripe.webhookSecret,
    }),
  });

  fault(
    "P2",
    "told to stop while it works it ends with 0, and what it began goes on afterwards",
    async () => {
      const machine = await rig.another();
      assert.equal(await rig.rig.daemon.stop(), 0);
      await rig.rig.restart();
      await rig.became(machine.name, "ready");
      const second = await rig.another();
      // The second signal: it leaves at once.
      process.kill(rig.rig.daemon.pid, "SIGTERM");
      await rig.rig.daemon.stop();
      await rig.rig.restart();
      await rig.became(second.name, "ready", "destroyed");
    },
  );

  fault("P3", "a daemon that stands still is killed by the watchdog, and the next one goes on", async () => {
    const unit = await createUnit(rig.rig.dir, watchdogMs);
    try {
      assert.equal(await rig.rig.daemon.stop(), 0);
      await rig.rig.restart(unit.start);
      const hung = rig.rig.daemon;
      const order = await rig.order("p3");
      const building = await rig.another();
      await untilTerraformRuns(rig.folderOf(building.name), "apply");
      // Nobody wakes it.
      process.kill(hung.pid, "SIGSTOP");
      const { sent } = rig.rig.cloud.stripe.console.buy(order.checkout_session ?? "");
      assert.equal(await hung.ended, null, "it ended by itself");
      assert.equal(unit.timeouts(), 1);
      await rig.rig.restart(unit.start);
      await sent;
      await rig.reached(order.id, "running");
      await rig.became(building.name, "ready", "destroyed");
      assert.equal(bought(building.name), 1);
      // Fed by the next one, which does get on: it outlives the span.
      const fedAt = () => Number(rig.store.setting("watchdog/fed"));
      const from = fedAt();
      await until(() => fedAt() - from > watchdogMs);
      assert.equal(unit.timeouts(), 1);
      assert.equal(await rig.rig.daemon.stop(), 0);
    } finally {
      await rig.rig.daemon.kill();
      await unit.close();
      await rig.rig.restart();
    }
  });

  fault("D9", "a second daemon on the same store waits, and ends when it is told to", async () => {
    const args = clawpoolArgs(rig.rig.operator.configFile, "serve");
    const waiting = execa(process.execPath, args, { reject: false, all: true, timeout: 240_000 });
    try {
      // Not by execa's iterable: whoever leaves that waits until the process has ended.
      const waits = new Promise<null>((resolve) => {
        createInterface({ input: waiting.all }).on("line", (line) => {
          if (/"waiting: the daemon of \S+ \(process \d+ on \S+\) runs on /.test(line)) resolve(null);
        });
      });
      const ended = await Promise.race([waits, waiting]);
      assert(ended === null, `it did not wait: ${ended?.all}`);
      const order = await rig.serve("d9-waits");
      assert(waiting.kill("SIGTERM"), "it did not wait any longer");
      const { exitCode, all } = await waiting;
      assert.equal(exitCode, 0);
      assert.doesNotMatch(all, /clawpool runs|taking over/);
      assert.equal(rig.serving(order).order, order.id);
    } finally {
      waiting.kill("SIGKILL");
    }
  });

  fault("D9", "one that hung past its lease is replaced; when it wakes it is refused, and ends", async () => {
    const zombie = rig.rig.daemon;
    const { term } = withLease(present);
    const order = await rig.order("d9");
    const seen = (await rig.serve("d9-before")).id;
    const building = await rig.another();
    const applies = await untilTerraformRuns(rig.folderOf(building.name), "apply");
    process.kill(zombie.pid, "SIGSTOP");
    try {
      const serve = (configFile: string, logFile: string) =>
        startDaemonProcess(configFile, logFile, undefined, { through: elsewhere });
      await rig.rig.restart(serve);
      assert.equal(logged("hangs: taking over").length, 1);
      assert.equal(withLease(present).term, term + 1);
      const paid = await rig.pay(order);
      await rig.reached(paid.id, "running");
      // What waits for it when it wakes: a webhook, and terraform with an order at its gate.
      const webhook = tell(zombie.url, rig.told("checkout.session.completed", seen));
      for (const pid of applies) process.kill(pid, 0);
      assert.equal(bought(building.name), 0);
      const before = changes();
      process.kill(zombie.pid, "SIGCONT");
      assert.equal(await zombie.ended, unfinished);
      assert.equal(await webhook, null, "it answered");
      assert.equal(fenced(term).length, 1);
      await rig.became(building.name, "ready", "destroyed");
      assert.equal(bought(building.name), 1);
      assert(changes() > before, "the next one did not go on with what it had begun");
    } finally {
      await zombie.kill();
    }
    assert.equal((await rig.rig.shop.view(order.id)).state, "running");
  });

  fault("D9", "one that goes on although it was replaced writes nothing and buys nothing", async () => {
    assert.equal(await rig.rig.daemon.stop(), 0);
    await rig.rig.restart((configFile, logFile) =>
      startDaemonProcess(configFile, logFile, nodeArgs(heedless, configFile)),
    );
    const zombie = rig.rig.daemon;
    try {
      const seen = (await rig.serve("d9-heedless")).id;
      const building = await rig.another();
      const applies = await untilTerraformRuns(rig.folderOf(building.name), "apply");
      signal(applies, "SIGSTOP");
      const term = withLease((lease) => {
        const { term, holder } = present(lease);
        assert(lease.take(term, holder));
        return term;
      });
      const rows = () => rig.store.auditRows({ limit: 100_000 }).length;
      const before = { rows: rows(), changes: changes() };
      signal(applies, "SIGCONT");
      const status = await tell(zombie.url, rig.told("checkout.session.completed", seen));
      assert(status !== null && status >= 500, `it answered ${status}`);
      // Terraform's order was refused at the gate, and that it was could not be written either.
      await until(() => applies.every((pid) => !isAlive(pid)));
      await until(() => fenced(term).length > 10);
      assert.deepEqual({ rows: rows(), changes: changes() }, before);
      assert.equal(bought(building.name), 0);
      await zombie.kill();
      await rig.rig.restart();
      await rig.became(building.name, "ready", "destroyed");
      assert.equal(bought(building.name), 1);
    } finally {
      await zombie.kill();
    }
  });

  fault(
    "P5",
    "without file handles it waits longer and longer, and builds the same machine afterwards",
    async () => {
      await rig.ready(2);
      const { pid, url } = rig.rig.daemon;
      const order = await rig.order("p5");
      const limits = async (column: string) => {
        const args = ["--pid", String(pid), "--nofile", `--output=${column}`, "--noheadings"];
        return (await execa("prlimit", args)).stdout.trim();
      };
      const limit = (soft: string, hard: string) =>
        execa("prlimit", ["--pid", String(pid), `--nofile=${soft}:${hard}`]);
      const [soft, hard] = [await limits("SOFT"), await limits("HARD")];
      // A connection that is open already: no other can be made.
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const ask = (method: string, path: string, body = "") =>
        new Promise<number | undefined>((resolve, reject) => {
          const asked = request(`${url}${path}`, { method, agent, headers: body === "" ? {} : signed(body) });
          asked.once("response", (answer) => {
            answer.resume().once("end", () => resolve(answer.statusCode));
          });
          asked.once("error", reject).end(body);
        });
      const known = new Set(rig.store.machines().map(({ name }) => name));
      const warm = rig.machines("ready");
      assert.equal(await ask("GET", "/healthz"), 200);
      await limit("3", hard);
      try {
        const { sent } = rig.rig.cloud.stripe.console.buy(order.checkout_session ?? "");
        await sent;
        const body = rig.told("checkout.session.completed", order.id);
        assert.equal(await ask("POST", "/webhooks/stripe", body), 200);
        const begun = () => rig.store.machines().find(({ name }) => !known.has(name));
        await until(() => (begun()?.attempts ?? 0) >= 3);
        const { name, state } = begun() ?? assert.fail();
        assert.equal(state, "creating");
        const tries = rig.store
          .auditRows({ subject: name, limit: 1_000 })
          .filter(({ why }) => /EMFILE/.test(why));
        assert(tries.length >= 3);
        const [one = 0, two = 0, three = 0] = tries.slice(-3).map(({ at }) => at);
        assert(three - two > two - one, `after ${two - one} ms, then after ${three - two} ms`);
        assert.equal(rig.store.machines().filter((machine) => !known.has(machine.name)).length, 1);
        await limit(soft, hard);
        await rig.reached(order.id, "running");
        await rig.became(name, "ready");
        assert.equal(bought(name), 1);
        for (const { name, serverId } of warm)
          assert.equal(rig.store.machine(name)?.serverId, serverId, "a warm machine was taken for a bad one");
        assert(
          warm.every(({ name }) => !["retiring", "destroyed"].includes(rig.store.machine(name)?.state ?? "")),
        );
        const failures = ["machine-failed", "refill-stopped", "builds-fail"];
        assert.deepEqual(
          rig.store.flags().filter(({ kind }) => failures.includes(kind)),
          [],
        );
      } finally {
        await limit(soft, hard);
        agent.destroy();
      }
    },
  );

  fault(
    "P6",
    "a broken configuration changes nothing; a smaller pool takes only what is nobody's",
    async () => {
      const served = await rig.serve("p6");
      const { configFile } = rig.rig.operator;
      const good = readFileSync(configFile, "utf8");
      writeFileSync(configFile, good.replace("min_ready:", "min_raedy:"));
      await rig.rig.until("it is refused", async () =>
        rig.store.auditRows({ limit: 1_000 }).some(({ action }) => action === "config.refused"),
      );
      assert((await clawpool("config", "check")).exitCode !== 0);
      await rig.configure({ minReady: 0 });
      await rig.rig.until("nothing is ready", async () => rig.machines("ready", "retiring").length === 0);
      assert.equal((await rig.rig.shop.view(served.id)).state, "running");
      await rig.configure({ minReady: 2 });
    },
  );
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

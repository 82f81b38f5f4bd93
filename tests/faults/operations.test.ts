/** P2-P6, N1-N3, X1-X5, D9: the process and its host, the network, and whoever means ill, on the local cloud. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import Database from "better-sqlite3";
import { execa, type ResultPromise } from "execa";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { injections, isOneLine } from "../order/injections.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

type SecondDaemon = ResultPromise<{ reject: false; all: true; timeout: number }>;

describe("faults: process, network and malice, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };
  let second: SecondDaemon | null = null;

  before(async () => {
    rig = await startFaultRig({ minReady: 4, maxTotal: 8, failurePause: "1s" });
    await rig.ready(4);
  });
  afterEach(async () => {
    second?.kill("SIGKILL");
    await second;
    second = null;
  });
  after(() => rig?.stop());

  const fault = onLocalCloud(() => rig);
  const url = (path: string) => `${rig.rig.daemon.url}${path}`;
  const api = (method: string, path: string, headers: Record<string, string> = {}, body?: string) =>
    fetch(url(path), { method, headers, ...(body === undefined ? {} : { body }) });
  const clawpool = (...args: string[]) =>
    execa(process.execPath, clawpoolArgs(rig.rig.operator.configFile, ...args), { reject: false });

  /** What the listener answers to these bytes, until it ends the connection. */
  async function raw(...pieces: (string | Buffer)[]): Promise<string> {
    const { hostname, port } = new URL(rig.rig.daemon.url);
    const socket = connect(Number(port), hostname);
    let answer = "";
    socket.setEncoding("latin1").on("data", (text) => {
      answer += text;
    });
    socket.on("error", () => {});
    await once(socket, "connect");
    for (const piece of pieces) socket.write(piece);
    await once(socket, "close");
    return answer;
  }

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

  /**
   * Another daemon on the same store; resolves when it says that it waits. It ends after the test at the latest.
   * @throws AssertionError with what it printed when it ended instead
   */
  async function waitingDaemon(): Promise<{ readonly waiting: SecondDaemon }> {
    const args = clawpoolArgs(rig.rig.operator.configFile, "serve");
    const started = execa(process.execPath, args, { reject: false, all: true, timeout: 240_000 });
    second = started;
    // Not by execa's iterable: whoever leaves that waits until the process has ended.
    const waits = new Promise<null>((resolve) => {
      createInterface({ input: started.all }).on("line", (line) => {
        if (/"waiting: the daemon of \S+ \(process \d+ on \S+\) runs on /.test(line)) resolve(null);
      });
    });
    const ended = await Promise.race([waits, started]);
    assert(ended === null, `it did not wait: ${ended?.all}`);
    return { waiting: started };
  }

  fault("P3", "a daemon that stands still for a while takes up where it was", async () => {
    const order = await rig.order("p3");
    const { pid } = rig.rig.daemon;
    process.kill(pid, "SIGSTOP");
    const { sent } = rig.rig.cloud.stripe.console.buy(order.checkout_session ?? "");
    try {
      // While it stands for less than the 30 s after which it counts as hung, nobody takes its place.
      await waitingDaemon();
    } finally {
      process.kill(pid, "SIGCONT");
    }
    await sent;
    await rig.reached(order.id, "running");
    assert.equal((await api("GET", "/readyz")).status, 200);
  });

  fault("D9", "a second daemon on the same store waits, and ends when it is told to", async () => {
    const { waiting } = await waitingDaemon();
    const order = await rig.serve("d9");
    assert(waiting.kill("SIGTERM"), "it did not wait any longer");
    const { exitCode, all } = await waiting;
    assert.equal(exitCode, 0);
    assert.doesNotMatch(all, /clawpool runs|taking over/);
    assert.equal(rig.serving(order).order, order.id);
  });

  fault("P5", "without file handles it waits, and goes on when there are some", async () => {
    const { pid } = rig.rig.daemon;
    const limit = (files: number | string) => execa("prlimit", ["--pid", String(pid), `--nofile=${files}`]);
    const { stdout } = await execa("prlimit", [
      "--pid",
      String(pid),
      "--nofile",
      "--output=HARD",
      "--noheadings",
    ]);
    const before = rig.store.machines().length;
    await limit(`20:${stdout.trim()}`);
    const answer = await fetch(url("/healthz"), { signal: AbortSignal.timeout(2_000) }).catch(() => null);
    assert(answer === null || answer.status < 500);
    await limit(`${stdout.trim()}:${stdout.trim()}`);
    assert.equal((await api("GET", "/readyz")).status, 200);
    await rig.serve("p5");
    assert(rig.store.machines().length >= before);
  });

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

  fault(
    "N1",
    "requests that are too large, too long or ambiguous are refused, and the rest goes on",
    async () => {
      const host = "host: x\r\n";
      const large = "a".repeat(20_000);
      assert.match(await raw(`GET / HTTP/1.1\r\n${host}x: ${large}\r\n\r\n`), /^HTTP\/1\.1 431/);
      const both = `POST /webhooks/stripe HTTP/1.1\r\n${host}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`;
      assert.match(await raw(both), /^HTTP\/1\.1 400/);
      const lie = `POST /webhooks/stripe HTTP/1.1\r\n${host}transfer-encoding: chunked\r\n\r\nZZ\r\nx\r\n`;
      assert.match(await raw(lie), /^HTTP\/1\.1 400/);
      const long = `POST /webhooks/stripe HTTP/1.1\r\n${host}content-length: 10000000\r\n\r\n`;
      assert.match(await raw(long, Buffer.alloc(1_000_000)), /^HTTP\/1\.1 413/);
      const { hostname, port } = new URL(rig.rig.daemon.url);
      const idle = Array.from({ length: 500 }, () => connect(Number(port), hostname).on("error", () => {}));
      try {
        for (const socket of idle) socket.write("GET / HTTP/1.1\r\nx-slow: ");
        assert.equal((await api("GET", "/healthz")).status, 200);
      } finally {
        for (const socket of idle) socket.destroy();
      }
    },
  );

  fault("N2", "a thousand forged webhooks do not keep a true one out", async () => {
    const order = await rig.order("n2");
    const junk = Array.from({ length: 1_000 }, (_, i) =>
      rig.post(`{"id":"evt_junk_${i}"}`, { secret: "whsec_of_nobody" }).catch(() => 0),
    );
    const { subscription, sent } = rig.rig.cloud.stripe.console.buy(order.checkout_session ?? "");
    const statuses = new Set(await Promise.all(junk));
    await sent;
    assert.deepEqual(
      [...statuses].filter((status) => status !== 400 && status !== 0 && status !== 429),
      [],
    );
    await rig.reached(order.id, "running");
    await rig.rig.cloud.stripe.console.cancel(subscription.id).sent;
    await rig.reached(order.id, "released");
  });

  fault("N3", "readers of an event stream who never read hold nobody up", async () => {
    const [order] = rig.store.orders();
    assert(order);
    const { hostname, port } = new URL(rig.rig.daemon.url);
    const head =
      `GET /v1/orders/${order.id}/events HTTP/1.1\r\nhost: x\r\n` +
      `authorization: Bearer ${rig.rig.operator.apiToken}\r\n\r\n`;
    const sockets = Array.from({ length: 100 }, () => {
      const socket = connect(Number(port), hostname).on("error", () => {});
      socket.pause();
      socket.write(head);
      return socket;
    });
    try {
      assert.equal((await api("GET", "/healthz")).status, 200);
      assert((await rig.rig.shop.view(order.id)).id === order.id);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  fault(
    "X1",
    "what customers write is refused or stays text, to the last byte, on the machine too",
    async () => {
      const secret =
        // biome-ignore lint/suspicious/noTemplateCurlyInString: terraform's, not ours
        "it's \"a\" $(id) `id` {{ lookup('pipe','id') }} ${file(\"/etc/passwd\")} \\n -oProxyCommand=id";
      for (const text of injections.filter((one) => !isOneLine(one))) {
        await assert.rejects(rig.order(text), /422/);
        await assert.rejects(rig.order("x1", { agent_name: text }), /422/);
      }
      const view = await rig.order("x1", { env: { CLAW_MODEL_API_KEY: secret.replaceAll("'", "") } });
      await rig.ready(1);
      const bought = await rig.pay(view);
      await rig.reached(bought.id, "running");
      const root = rig.rig.cloud.rootOf?.(rig.serving(bought).serverId ?? 0) ?? assert.fail();
      const env = readFileSync(join(root, "home/openclaw/.openclaw/.env"), "utf8");
      assert(env.includes(secret.replaceAll("'", "")), env.replace(/TOKEN=.*/, ""));
      for (const file of ["home/openclaw/id", "root/id"]) assert(!existsSync(join(root, file)));
    },
  );

  fault("X2", "no field of an order makes the daemon call anywhere", async () => {
    const before = rig.store.orders().length;
    for (const field of ["callback_url", "webhook", "success_url", "return_url"])
      await assert.rejects(rig.order("x2", { [field]: "http://169.254.169.254/" }), /422/);
    assert.equal(rig.store.orders().length, before);
  });

  fault("X3", "a token that is wrong opens nothing and is not written down", async () => {
    const wrong = `wrong-${"a".repeat(40)}`;
    for (const headers of [{}, { authorization: `Bearer ${wrong}` }, { authorization: `Basic ${wrong}` }]) {
      for (const path of ["/v1/pool", "/v1/orders/ord_x", "/metrics"])
        assert.equal((await api("GET", path, headers as Record<string, string>)).status, 401, path);
    }
    assert(!readFileSync(rig.rig.daemon.logFile, "utf8").includes(wrong));
  });

  fault("X4", "another site's page can neither act nor frame", async () => {
    const headers = { origin: "https://evil.example", "sec-fetch-site": "cross-site", cookie: "session=1" };
    assert.equal((await api("POST", "/v1/orders", headers, "{}")).status, 401);
    const page = await api("GET", "/", headers);
    assert.match(page.headers.get("content-security-policy") ?? "", /frame-ancestors 'none'/);
    assert.equal(page.headers.get("access-control-allow-origin"), null);
    assert.equal(page.headers.get("set-cookie"), null);
  });

  fault("X5", "an audit row that was changed, removed or cut off is named", async () => {
    const dir = mkdtempSync(join(tmpdir(), "clawpool-audit-"));
    const source = new Database(join(rig.rig.operator.stateDir, "clawpool.sqlite"), { readonly: true });
    try {
      const spoil = [
        "UPDATE audit SET why = 'nothing' WHERE seq = 7",
        "DELETE FROM audit WHERE seq = 7",
        "DELETE FROM audit WHERE seq > 7",
      ];
      for (const [index, sql] of spoil.entries()) {
        const copy = join(dir, `copy-${index}.sqlite`);
        await source.backup(copy);
        const db = new Database(copy);
        assert.throws(() => db.exec(sql), /never (changed|deleted)/);
        db.exec("DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;");
        db.exec(sql);
        db.close();
        const { exitCode, stdout } = await clawpool("audit", "verify", "--store", copy);
        assert.equal(exitCode, 1, stdout);
        assert.match(stdout, /\b[78]\b/);
      }
      copyFileSync(join(dir, "copy-0.sqlite"), join(dir, "kept.sqlite"));
    } finally {
      source.close();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

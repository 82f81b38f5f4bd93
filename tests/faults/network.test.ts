/** N1-N3, X1-X5: the network, and whoever means ill, on the local cloud. */
import { strict as assert } from "node:assert";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import Database from "better-sqlite3";
import { execa } from "execa";
import { clawpoolArgs } from "../cloud/daemon-process.ts";
import { injections, isOneLine } from "../order/injections.ts";
import { onLocalCloud } from "./fault.ts";
import { type FaultRig, startFaultRig } from "./rig.ts";

const lookEveryMs = 100;

describe("faults: network and malice, on the local cloud", function () {
  this.timeout(300_000);
  let rig: FaultRig & { stop(): Promise<void> };

  before(async () => {
    rig = await startFaultRig({ minReady: 2, maxTotal: 8, failurePause: "1s" });
    await rig.ready(2);
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
      // Slowloris: a head that never ends, a body that never comes. Each is told that it took too long, and cut off.
      const slow = Array.from({ length: 500 }, () => raw("GET / HTTP/1.1\r\nx-slow: "));
      const bodiless = raw(`POST /webhooks/stripe HTTP/1.1\r\n${host}content-length: 100\r\n\r\n{`);
      assert.equal((await api("GET", "/healthz")).status, 200);
      for (const answer of await Promise.all([...slow, bodiless])) assert.match(answer, /^HTTP\/1\.1 408/);
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

  fault("N3", "readers of an event stream who never read are cut off, and who reads gets all", async () => {
    const served = await rig.serve("n3");
    // More than the kernel takes for a reader who takes nothing, which is 4 MB on Linux.
    const text = "x".repeat(5_000);
    const steps = 1_200;
    for (let i = 0; i < steps; i++) rig.store.appendStep(served.id, { step: `n3-${i}`, text });
    const { hostname, port } = new URL(rig.rig.daemon.url);
    const head =
      `GET /v1/orders/${served.id}/events HTTP/1.1\r\nhost: x\r\n` +
      `authorization: Bearer ${rig.rig.operator.apiToken}\r\n\r\n`;
    const sockets = Array.from({ length: 40 }, () => {
      const socket = connect(Number(port), hostname).on("error", () => {});
      socket.pause();
      socket.write(head);
      return socket;
    });
    try {
      await Promise.all(sockets.map((socket) => once(socket, "connect")));
      const ports = sockets.map(({ localPort }) => localPort ?? 0);
      const reading = rig.rig.shop.follow(served.id, ["released"]);
      while (connectionsOf(Number(port), ports) > 0) await delay(lookEveryMs);
      await rig.cancel(served);
      const told = (await reading).flatMap(({ data }) =>
        String(data.step).startsWith("n3-") ? [data.step] : [],
      );
      assert.deepEqual(
        told,
        Array.from({ length: steps }, (_, i) => `n3-${i}`),
      );
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

/** How many connections to these ports a listener of this host has open on its own side. */
function connectionsOf(port: number, remote: readonly number[]): number {
  const established = "01";
  return readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .slice(1)
    .filter((line) => {
      const [, local = "", peer = "", state] = line.trim().split(/\s+/);
      const portOf = (address: string) => Number.parseInt(address.split(":")[1] ?? "", 16);
      return state === established && portOf(local) === port && remote.includes(portOf(peer));
    }).length;
}

import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import type { Progress } from "../../pool/controller.ts";
import { createLoop } from "../../pool/loop.ts";
import type { Machine, MachineName } from "../../pool/machine/machine.ts";
import { standstill, usualLimits } from "../../pool/observe/watchdog.ts";
import { settled, VirtualClock } from "../virtual-clock.ts";

const log = pino({ level: "silent" });
const m1 = "m-1" as MachineName;

describe("the watchdog's food", () => {
  const now = 10_000_000;
  const well: Progress = { roundAt: now - 1_000, looks: [], minuteSince: null };
  const judged = (change: Partial<Progress>, write = () => {}) =>
    standstill({ ...well, ...change }, now, write);

  it("is given while the loop comes round, looks end and the store takes writes", () => {
    let written = 0;
    const look = { name: m1, since: now - 60_000, deadline: now - usualLimits.overdueMs };
    const working = { looks: [look, { name: m1, since: now, deadline: null }], minuteSince: now - 60_000 };
    assert.equal(
      standstill({ ...well, ...working }, now, () => written++),
      null,
    );
    assert.equal(written, 1);
  });

  it("is refused, with the reason, for each thing that stands still", () => {
    assert.match(judged({ roundAt: null }) ?? "", /never round/);
    assert.match(judged({ roundAt: now - 15_001 }) ?? "", /last round 15 s ago/);
    const late = { name: m1, since: now - 900_000, deadline: now - 300_001 };
    assert.match(judged({ looks: [late] }) ?? "", /m-1 is 300 s past its deadline/);
    const endless = { name: m1, since: now - 1_800_001, deadline: null };
    assert.match(judged({ looks: [endless] }) ?? "", /m-1 has taken 1800 s/);
    assert.match(judged({ minuteSince: now - 1_200_001 }) ?? "", /minute's work has taken 1200 s/);
    const full = () => {
      throw new Error("database or disk is full");
    };
    assert.match(judged({}, full) ?? "", /cannot be written: database or disk is full/);
  });

  it("is not given again for a deadline that had passed before the look began", () => {
    const began = { name: m1, since: now - 1_000, deadline: now - 3_600_000 };
    assert.equal(judged({ looks: [began] }), null);
  });

  it("ends when a look never ends, though the loop comes round", async () => {
    const clock = new VirtualClock();
    const machine = { name: m1, state: "preparing", nextLookAt: 0, deadline: clock.now() + 60_000 };
    const never = Promise.withResolvers<{ againInMs: number }>();
    const loop = createLoop({
      clock,
      log,
      live: () => [machine as unknown as Machine],
      maxParallelBuilds: () => 1,
      afterRound: () => {},
      reconcile: () => never.promise,
    });
    loop.start();
    const why = () => standstill({ ...loop.progress(), minuteSince: null }, clock.now(), () => {});
    await clock.advance(60_000 + usualLimits.overdueMs);
    assert.equal(why(), null);
    await clock.advance(1_000);
    assert.match(why() ?? "", /m-1 is 301 s past its deadline/);
    const stopped = loop.stop();
    never.resolve({ againInMs: 1_000_000 });
    await settled();
    await stopped;
  });
});

describe("systemd's notification socket", function () {
  // Node and Python take a second to start each.
  this.timeout(30_000);
  let dir: string;
  let started: ChildProcess[];
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-notify-"));
    started = [];
  });
  afterEach(async () => {
    for (const child of started) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
    rmSync(dir, { recursive: true });
  });

  /** A real datagram socket, which Node cannot open: what it receives, line by line. */
  async function socket(): Promise<{ path: string; messages: AsyncIterator<string> }> {
    const path = join(dir, "notify");
    const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    print(s.recv(4096).decode().replace("\\n", " "), flush=True)
`;
    const child = spawn("python3", ["-c", program, path], { stdio: ["ignore", "pipe", "inherit"] });
    started.push(child);
    assert(child.stdout);
    const messages = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    assert.equal((await messages.next()).value, "bound");
    return { path, messages };
  }

  it("hears that the daemon is ready, and of each third of the watchdog's span until it stands still", async () => {
    const { path, messages } = await socket();
    const source = fileURLToPath(new URL("../../pool/observe/systemd.ts", import.meta.url));
    const program = `
      import { notifySystemd } from ${JSON.stringify(source)};
      const log = { warn: console.error, fatal: ({ why }) => console.log(why) };
      let asked = 0;
      const systemd = notifySystemd(log, () => (++asked < 3 ? null : "the loop was last round 16 s ago"));
      systemd.ready();
      process.stdin.resume();
      process.stdin.once("data", () => systemd.stopping());
    `;
    const env = { PATH: process.env.PATH, NOTIFY_SOCKET: path, WATCHDOG_USEC: "600000" };
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      env,
      stdio: ["pipe", "pipe", "inherit"],
    });
    started.push(child);
    assert(child.stdout);
    const said = once(createInterface({ input: child.stdout }), "line");
    const heard: string[] = [];
    const next = async (): Promise<unknown> => {
      const message = (await messages.next()).value.trim();
      // systemd-notify waits for systemd to have read what it sent.
      return message === "BARRIER=1" ? next() : heard.push(message);
    };
    await next();
    await next();
    await next();
    assert.deepEqual(await said, ["the loop was last round 16 s ago"]);
    // The next thing that is heard is the stop: nothing came in between.
    child.stdin?.write("\n");
    await next();
    // Each is told by a process of its own: on a busy host the first may come behind the second. systemd takes both.
    const [first, second, ready = ""] = heard
      .slice(0, 3)
      .sort((a, b) => Number(/READY/.test(a)) - Number(/READY/.test(b)));
    assert.deepEqual([first, second], ["WATCHDOG=1", "WATCHDOG=1"]);
    assert.match(ready, /READY=1/);
    assert.match(heard[3] ?? "", /STOPPING=1/);
  });
});

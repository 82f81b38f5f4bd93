/** The machine around the gateway: its facts, its unit, the controller's own access. */
import { spawn } from "node:child_process";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "./env-file.mjs";
import { gatewayUptime } from "./gateway.mjs";
import { Failure, pause } from "./report.mjs";
import { tailscaleStatus } from "./tailnet.mjs";

/** A restart takes 8-12 s; 20-22 s on a machine that was just booted. */
const restartDeadlineMs = 120_000;
/** tailscaled is up in under a second; it says Starting until it has the control server's answer. */
const tailscaledDeadlineMs = 30_000;

/** In a session of its own: the hang-up that comes with a lost connection goes to our whole process group. */
function run([command, ...args], timeout, as = {}) {
  return new Promise((resolve) => {
    const stdio = ["ignore", "pipe", "ignore"];
    const child = spawn(command, args, { ...as, timeout, detached: true, stdio });
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.once("error", () => resolve({ ok: false, stdout: "" }));
    child.once("close", (code) => resolve({ ok: code === 0, stdout: stdout.trim() }));
  });
}

/** What this machine is, from /etc/clawpool/machine.json (root-owned, written when the machine was prepared). */
export async function readFacts(file) {
  const facts = JSON.parse(await readFile(file, "utf8"));
  const userUnit = ["systemctl", "--user", "-M", `${facts.user}@`];
  return {
    restartCommand: [...userUnit, "restart", facts.unit],
    tailscaledRestartCommand: ["systemctl", "restart", "tailscaled.service"],
    tailscaledStateCommand: ["systemctl", "is-active", "tailscaled.service"],
    endSessionsCommand: ["pkill", "-KILL", "-u", "clawpool"],
    ...facts,
    gateway: {
      ...facts.gateway,
      // Any other loopback address: the gateway counts refusals by source, and the customer's own calls, which
      // tailscaled forwards from 127.0.0.1, must not pay for our proof.
      refusalAddress: facts.gateway.host.startsWith("127.") ? "127.86.13.7" : undefined,
    },
  };
}

/** What systemd says of the gateway's unit. Asked as its user: 9 ms, where `-M user@` opens a session for 47. */
export async function unitState(facts) {
  const asked = facts.stateCommand
    ? run(facts.stateCommand, 10_000)
    : stat(facts.home).then(({ uid, gid }) => {
        const env = { PATH: process.env.PATH, XDG_RUNTIME_DIR: `/run/user/${uid}` };
        return run(["systemctl", "--user", "is-active", facts.unit], 10_000, { uid, gid, env });
      });
  return (await asked).stdout.split("\n")[0] || "unknown";
}

/** Restarts the gateway's unit and waits until its new process says that it has started. */
export async function restartUnit(facts, step) {
  const began = performance.now();
  // systemctl returns before the gateway listens, and with success even when the gateway then dies.
  if (!(await run(facts.restartCommand, 60_000)).ok)
    throw new Failure("restart", "the unit's restart failed", true);
  step("restarted");
  for (;;) {
    const uptime = await gatewayUptime(facts.gateway);
    const waited = performance.now() - began;
    // An old process that still answers is older than our wait.
    if (uptime !== null && uptime <= waited) break;
    if (waited > restartDeadlineMs)
      throw new Failure("restart", `no gateway ${restartDeadlineMs} ms after the restart`, true);
    if ((await unitState(facts)) === "failed")
      throw new Failure("restart", "the gateway's unit failed", false);
    await pause(200);
  }
  step("started");
}

/** What systemd says of tailscaled's unit. */
export async function tailscaledState(facts) {
  return (await run(facts.tailscaledStateCommand, 10_000)).stdout.split("\n")[0] || "unknown";
}

/** Restarts tailscaled, and waits until it is what it was: connected, logged out, switched off. */
export async function restartTailscaled(facts, step) {
  if (facts.tailscaleSocket === null) throw new Failure("restart", "the machine has no Tailscale", false);
  const began = performance.now();
  if (!(await run(facts.tailscaledRestartCommand, 60_000)).ok)
    throw new Failure("restart", "tailscaled's restart failed", true);
  step("restarted");
  for (;;) {
    const state = await tailscaleStatus(facts).then(
      ({ BackendState }) => BackendState,
      () => null,
    );
    if (state !== null && !["NoState", "Starting"].includes(state)) break;
    if (performance.now() - began > tailscaledDeadlineMs)
      throw new Failure("restart", `no tailscaled ${tailscaledDeadlineMs} ms after the restart`, true);
    await pause(200);
  }
  step("started");
}

/** Takes the controller's shell away: its sudo rights, its key, its sessions. Root's forced command remains. */
export async function dropAdmin(facts) {
  const sudoers = join(facts.root, "etc/sudoers.d");
  const owner = { uid: process.getuid(), gid: process.getgid() };
  for (const name of await readdir(sudoers).catch(() => [])) {
    const file = join(sudoers, name);
    const text = await readFile(file, "utf8").catch(() => "");
    const kept = text.split("\n").filter((line) => !/^\s*clawpool\s/.test(line));
    if (kept.join("\n") === text) continue;
    if (kept.every((line) => /^\s*(#|$)/.test(line))) await rm(file, { force: true });
    else await replaceFile(file, kept.join("\n"), owner);
  }
  await rm(join(facts.root, "home/clawpool/.ssh/authorized_keys"), { force: true });
  await run(facts.endSessionsCommand, 10_000);
}

#!/usr/bin/env node
/**
 * The hand-over program: the one thing that the controller may run on a machine once it is the customer's.
 * Root-owned, started by sshd as a forced command, no dependencies, Node 24.
 *
 * It is started ahead of time. It opens the gateway's control connection with the token in force, says `armed`,
 * and waits on stdin for exactly one frame (pool/machine/protocol.ts). Everything that takes time without needing
 * the customer's data happens before that frame: starting Node, the WebSocket upgrade, the connection's handshake.
 */
import { readFile } from "node:fs/promises";
import { tokenIn } from "./env-file.mjs";
import { readFrame } from "./frame.mjs";
import { gatewayUptime, openControl } from "./gateway.mjs";
import { handOver } from "./hand-over.mjs";
import { readFacts, restartTailscaled, restartUnit, tailscaledState, unitState } from "./host.mjs";
import { Failure, say } from "./report.mjs";
import { tailscaleStatus } from "./tailnet.mjs";

const programVersion = "1";

/** The order that this machine has seen; null when it has seen none, undefined when its note cannot be read. */
function handedOver(facts) {
  return readFile(facts.stateFile, "utf8")
    .then((text) => {
      const { order, generation, rehearsal, done } = JSON.parse(text);
      return rehearsal ? null : { order, generation, done };
    })
    .catch((error) => (error.code === "ENOENT" ? null : undefined));
}

/** What the playbook recorded as installed, or null. */
const readInstalled = (facts) =>
  readFile(facts.installedFile, "utf8")
    .then(JSON.parse)
    .catch(() => null);

async function health(facts) {
  const [unit, uptime, tailscale, installed, seen] = await Promise.all([
    unitState(facts),
    gatewayUptime(facts.gateway),
    facts.tailscaleSocket === null
      ? { state: "absent" }
      : tailscaleStatus(facts).then(
          (status) => ({ state: status.BackendState, relay: Boolean(status.Self?.Relay) }),
          async () => ({ state: "unreachable", unit: await tailscaledState(facts) }),
        ),
    readInstalled(facts),
    handedOver(facts),
  ]);
  const version = installed?.openclaw ?? null;
  const { state: tailnet, unit: tailscaled, relay } = tailscale;
  const gateway = uptime !== null;
  return { type: "health", unit, gateway, tailnet, tailscaled, relay, version, handedOver: seen };
}

/**
 * Keeps a control connection open while the program waits: hours, and through restarts of the gateway. Says `armed`
 * at first and whenever it changed. After a refusal it does not try again: that would only make refusals slower.
 */
async function arm(facts) {
  const held = { control: null, stopped: false };
  let told = null;
  const installed = await readInstalled(facts);
  const tell = (gateway) => {
    if (told !== gateway && !held.stopped)
      say({ type: "armed", program: programVersion, gateway, installed });
    told = gateway;
  };
  const keep = async () => {
    for (let wait = 250; !held.stopped; wait = Math.min(wait * 2, 15_000)) {
      const token = await tokenIn(facts.envFile);
      try {
        if (!token) throw Object.assign(new Error("no token in .env"), { refused: true });
        held.control = await openControl(facts.gateway, token, 5_000);
        if (held.stopped) return held.control.close();
        tell(true);
        wait = 250;
        await held.control.closed;
      } catch (error) {
        tell(false);
        if (error.refused) return;
      }
      tell(false);
      await new Promise((resolve) => setTimeout(resolve, wait).unref());
    }
  };
  void keep();
  return held;
}

async function main() {
  // What was begun is finished although nobody listens any more: whoever asks again finds it done.
  process.stdout.on("error", () => {});
  process.on("SIGHUP", () => {});
  const began = () => performance.now();
  let facts;
  try {
    facts = await readFacts(process.env.CLAWPOOL_MACHINE_FILE ?? "/etc/clawpool/machine.json");
  } catch {
    return say({
      type: "failed",
      step: "facts",
      reason: "the machine's facts cannot be read",
      retryable: false,
    });
  }
  // Whoever only asks needs no control connection: one a minute would fill the gateway's log.
  const asksOnly = process.env.SSH_ORIGINAL_COMMAND === "clawpool-machine ask";
  const held = asksOnly ? { control: null, stopped: false } : await arm(facts);
  let start = began();
  try {
    const request = await readFrame(process.stdin);
    held.stopped = true;
    if (!request) return;
    start = began();
    const ms = () => Math.round((began() - start) * 10) / 10;
    const step = (name) => say({ type: "step", step: name, ms: ms() });
    if (request.op === "hand-over") {
      const attestation = await handOver(facts, held.control, request, step);
      say({ type: "attested", attestation, ms: ms() });
    } else {
      if (request.op === "repair")
        await (request.unit === "tailscaled" ? restartTailscaled(facts, step) : restartUnit(facts, step));
      say(await health(facts));
    }
  } catch (error) {
    const known = error instanceof Failure;
    // An unexpected error's text may quote data: only its kind and code are told.
    const reason = known ? error.message : `unexpected ${error?.name ?? "error"} ${error?.code ?? ""}`.trim();
    say({
      type: "failed",
      step: known ? error.step : "program",
      reason,
      retryable: known ? error.retryable : true,
    });
  } finally {
    held.stopped = true;
    held.control?.close();
    process.stdin.destroy();
    // Everything was said; a lingering watch or timer must not keep the session open.
    process.stdout.write("", () => process.exit(0));
  }
}

await main();

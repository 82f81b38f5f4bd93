/**
 * The hand-over itself.
 *
 * Why this order: the state file names the order before `.env` changes, so a machine that has seen a customer is
 * never anybody else's, whenever it crashes; `.env` changes before the gateway is told, so a crash in between is
 * cured by asking again (both tokens are tried, then the unit is restarted).
 *
 * A wrong token costs 250 ms, doubling to 5 s: the gateway delays each refusal. So nothing here polls with a token
 * that may be refused; that the old token is dead is known from close code 4001, "gateway auth changed".
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { encodeEnv, placeFile, replaceFile } from "./env-file.mjs";
import { openControl, tokenAccepted, tokenRefused } from "./gateway.mjs";
import { dropAdmin, restartUnit, unitState } from "./host.mjs";
import { merge, plan } from "./plan.mjs";
import { Failure, pause, within } from "./report.mjs";
import { joinDeadlineMs, joinTailnet, localApi } from "./tailnet.mjs";

/** After this the unit is restarted. A reload takes 120-330 ms (1.1 s was seen on a host with four times its load), a
 *  config change 360-700 ms (2 s): a restart takes 8-80 s, so a slow reload is worth waiting for. */
const reloadDeadlineMs = 5_000;
const configDeadlineMs = 8_000;
/** For a gateway that does not answer the first time; a start takes 8-20 s, a restart begins it anew. */
const controlDeadlineMs = 5_000;
/** The one before may be restarting the gateway; what it did is then only to be attested. The controller allows 60 s. */
const aloneDeadlineMs = 50_000;

/** What makes two requests of one (order, generation) the same: not the keys and tokens that a retry may renew. */
function digestOf({ order, generation, rehearsal, gatewayToken, env, model, dropAdmin, tailnet }) {
  const variables = Object.keys(env)
    .sort()
    .map((name) => [name, env[name]]);
  const join = tailnet && [tailnet.hostname, tailnet.controlUrl ?? null, tailnet.logout ?? false];
  return createHash("sha256")
    .update(
      JSON.stringify([order, generation, rehearsal, gatewayToken, variables, model ?? null, dropAdmin, join]),
    )
    .digest("hex");
}

async function readState(facts) {
  const text = await readFile(facts.stateFile, "utf8").catch((error) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  return text === null ? null : JSON.parse(text);
}

async function writeState(facts, state) {
  await mkdir(dirname(facts.stateFile), { recursive: true, mode: 0o700 });
  await replaceFile(facts.stateFile, `${JSON.stringify(state)}\n`, {
    uid: process.getuid(),
    gid: process.getgid(),
  });
}

/** Refuses what must not happen to this machine; true when this very request was done before. */
function judge(state, request, digest) {
  if (!state) return false;
  const no = (reason, step = "order") => new Failure(step, reason, false);
  if (state.order === request.order && state.generation === request.generation) {
    if (state.digest !== digest) throw no("this order and generation was given with another content");
    return state.done;
  }
  if (state.rehearsal) return false;
  if (state.order !== request.order) throw no("this machine already has another order", "another-order");
  if (request.rehearsal || request.generation < state.generation)
    throw no("this machine is past that generation");
  return false;
}

/** Makes the running gateway take what `.env` (and the patch) now says. @returns {Promise<boolean>} the old token is dead */
async function takeSecrets(control, { way, patch }, step) {
  if (way === "config") {
    const { hash } = await control.call("config.get", {});
    // One call validates, writes, applies and takes the new secrets too; by file it is the watcher's 500 ms more.
    await control.call("config.patch", { raw: JSON.stringify(patch), baseHash: hash });
  } else await control.call("secrets.reload", {});
  step(way);
  return (await Promise.race([control.closed, pause(250)])) === 4001;
}

/** Proof by a refusal (250 ms and more), where close code 4001 did not give it for nothing. */
const oldTokenDead = async (facts, { currentToken, gatewayToken }) =>
  currentToken === gatewayToken || tokenRefused(facts.gateway, currentToken);

/** A control connection with whichever token is in force, or null. A gateway that is just starting is waited for. */
async function anyControl(facts, held, request) {
  if (held?.alive()) return held;
  const deadline = performance.now() + controlDeadlineMs;
  for (const token of [request.currentToken, request.gatewayToken]) {
    for (;;) {
      try {
        return await openControl(facts.gateway, token, controlDeadlineMs);
      } catch (error) {
        if (error.refused) break;
        if (performance.now() > deadline) return null;
        await pause(200);
      }
    }
  }
  return null;
}

async function switchGateway(facts, held, request, chosen, step) {
  const { way, patch, config } = chosen;
  const { uid, gid } = await stat(dirname(facts.envFile));
  const write = async () => {
    const text = encodeEnv({ CLAW_GATEWAY_TOKEN: request.gatewayToken, ...request.env });
    const written = await placeFile(facts.envFile, text, { uid, gid });
    step("env");
    return written;
  };
  const control = way === "restart" ? null : await anyControl(facts, held, request);
  const written = await write();
  if (way !== "restart") {
    try {
      if (!control) throw new Failure("control", "no token is in force", true);
      const proof = async () => {
        const dead = await takeSecrets(control, chosen, step);
        const [accepted, unit] = await Promise.all([
          tokenAccepted(facts.gateway, request.gatewayToken),
          unitState(facts),
          written.durable,
        ]);
        if (accepted) return { dead, unit };
        throw new Failure("prove", "the new token is refused", true);
      };
      const deadline = way === "config" ? configDeadlineMs : reloadDeadlineMs;
      const { dead, unit } = await within(deadline, "reload", "the reload", proof());
      if (dead || (await oldTokenDead(facts, request)))
        return { way, unit, newTokenAccepted: true, oldTokenRefused: true };
      step("not-proved");
    } catch (error) {
      step(`${error.step ?? "reload"}-failed`);
    } finally {
      control?.close();
    }
  }
  await written.durable;
  if (Object.keys(patch).length > 0) {
    const { uid, gid } = await stat(facts.configFile);
    await replaceFile(facts.configFile, `${JSON.stringify(merge(config, patch), null, 2)}\n`, { uid, gid });
  }
  await restartUnit(facts, step);
  const newTokenAccepted = await tokenAccepted(facts.gateway, request.gatewayToken);
  const oldTokenRefused = await oldTokenDead(facts, request);
  return { way: "restart", unit: await unitState(facts), newTokenAccepted, oldTokenRefused };
}

/**
 * Runs `work` when no other hand-over runs here: a controller whose connection was cut asks again while the first
 * program still works. The lock is an abstract Unix socket, which the kernel drops with its process.
 */
async function alone(facts, work) {
  const name = `\0clawpool-${createHash("sha256").update(facts.stateFile).digest("hex").slice(0, 16)}`;
  const deadline = performance.now() + aloneDeadlineMs;
  const server = createServer();
  for (;;) {
    const error = await new Promise((resolve) => {
      server.once("error", resolve);
      server.listen(name, () => {
        server.removeListener("error", resolve);
        resolve(null);
      });
    });
    if (!error) break;
    if (error.code !== "EADDRINUSE" || performance.now() > deadline) {
      throw new Failure("busy", "another hand-over is at work on this machine", true);
    }
    await pause(50);
  }
  try {
    return await work();
  } finally {
    server.close();
  }
}

export function handOver(facts, held, request, step) {
  return alone(facts, () => work(facts, held, request, step));
}

async function work(facts, held, request, step) {
  const digest = digestOf(request);
  const state = await readState(facts);
  if (judge(state, request, digest)) return attestAgain(facts, request, state);
  const chosen = await plan(facts, request);
  const mark = { order: request.order, generation: request.generation, rehearsal: request.rehearsal, digest };
  const noted = writeState(facts, { ...mark, done: false }).then(() => step("noted"));

  // The join carries nothing of the customer's, so it needs not wait for the note as `.env` must. The controller's own
  // access goes meanwhile: a machine whose hand-over fails is not repaired by hand but replaced.
  const wantsTailnet = request.tailnet !== null && facts.tailscaleSocket !== null;
  const joining = wantsTailnet
    ? within(joinDeadlineMs, "tailnet", "the join", joinTailnet(facts, request.tailnet, step))
    : { address: null, node: null };
  const dropping = request.dropAdmin && noted.then(() => dropAdmin(facts)).then(() => step("admin-dropped"));
  // All are waited for even when one fails: nothing of this hand-over may still be at work when it is reported.
  const results = await Promise.allSettled([
    noted.then(() => switchGateway(facts, held, request, chosen, step)),
    joining,
    dropping,
  ]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
  const [switched, joined] = results.map(({ value }) => value);
  if (!switched.newTokenAccepted)
    throw new Failure("prove", "the gateway does not accept the new token", true);
  if (!switched.oldTokenRefused) throw new Failure("prove", "the gateway still accepts the old token", true);
  if (wantsTailnet && request.tailnet.logout) {
    await localApi(facts.tailscaleSocket, "POST", "logout");
    step("logged-out");
  }
  const attestation = {
    newTokenAccepted: true,
    oldTokenRefused: true,
    unitActive: switched.unit === "active",
    tailnetAddress: joined.address,
    tailnetNode: joined.node,
    tailnetReachable: joined.reachable,
    way: switched.way,
  };
  if (!attestation.unitActive) throw new Failure("prove", `the gateway's unit is ${switched.unit}`, true);
  await writeState(facts, { ...mark, done: true, attestation });
  return attestation;
}

/** The same request again: nothing changes, what was attested is proved anew. */
async function attestAgain(facts, request, state) {
  const [newTokenAccepted, oldTokenRefused, unit] = await Promise.all([
    tokenAccepted(facts.gateway, request.gatewayToken),
    oldTokenDead(facts, request),
    unitState(facts),
  ]);
  return {
    ...state.attestation,
    newTokenAccepted,
    oldTokenRefused,
    unitActive: unit === "active",
    way: "unchanged",
  };
}

/**
 * proving → ready, for new machines and for those that have waited: the hand-over is rehearsed through the same program, over the same kind of connection, with a
 * throw-away identity of the pool: new gateway token, join of the tailnet with an ephemeral key, log-out. What could
 * fail at a customer's hand-over fails here, where nobody waits.
 */
import { BorderError } from "../errors.ts";
import { target } from "./boot.ts";
import type { Machine } from "./machine.ts";
import type { Attestation, TailnetJoin } from "./protocol.ts";
import { areMostMissing } from "./ready.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";

const rehearsalKeySeconds = 600;

export const prove: Stage = async (machine, context) => {
  const { store, armed, clock, random } = context;
  const gatewayToken = random.bytes(32).toString("base64url");
  const { poolToken } = store.machineSecrets(machine.name);
  const arming = armed.ensure(machine.name, target(machine, context, "root"));
  arming.catch(() => {}); // awaited below, after the key that is minted meanwhile
  const join = await rehearsalJoin(machine, context);
  try {
    const connection = await arming;
    const { attestation, ms } = await connection.run({
      op: "hand-over",
      rehearsal: true,
      order: `rehearsal-${machine.name}`,
      // Another one each time: a rehearsal that a dead daemon began had another token, and is not to be taken up again.
      generation: clock.now(),
      currentToken: poolToken,
      gatewayToken,
      env: { CLAW_MODEL_API_KEY: random.bytes(24).toString("base64url") },
      tailnet: join?.join ?? null,
      dropAdmin: false,
    });
    refuseUnproved(attestation, join !== null);
    const why = "the hand-over was rehearsed";
    store.audit("daemon", "machine.rehearsed", machine.name, { why, ms, way: attestation.way });
  } finally {
    armed.drop(machine.name);
    // Used up by a join that worked; harmless to revoke, and needed when it did not. The machine does not wait for it.
    if (join) {
      const because = { subject: machine.name, why: "the rehearsal is over" };
      context.tailnet?.revokeKey(join.id, because).catch(() => {});
    }
  }
  store.changeMachine(
    machine.name,
    "proving",
    { state: "ready", poolToken: gatewayToken, deadline: null, provedAt: clock.now(), misses: 0 },
    "rehearsed the hand-over",
  );
  const { instance } = context.config();
  if (!areMostMissing(context))
    store.clearFlag("ready-unreachable", instance, `${machine.name} is proved again`);
  return atOnce;
};

async function rehearsalJoin(
  machine: Machine,
  { tailnet, config, store }: StageContext,
): Promise<{ id: string; join: TailnetJoin } | null> {
  const settings = config().tailnet;
  if (!tailnet || !settings) return null;
  const wanted = {
    tags: settings.rehearsalTags,
    expirySeconds: rehearsalKeySeconds,
    description: `rehearsal ${machine.name}`.slice(0, 50),
    ephemeral: true,
  };
  const key = await tailnet.mintKey(wanted, { subject: machine.name, why: "a rehearsal" });
  store.thaw("tailnet", "Tailscale gave a key");
  return {
    id: key.id,
    join: {
      key: key.key.expose(),
      hostname: machine.name,
      ...(settings.controlUrl ? { controlUrl: settings.controlUrl } : {}),
      logout: true,
    },
  };
}

/** @throws BorderError naming what the machine could not attest. */
export function refuseUnproved(attestation: Attestation, tailnet: boolean): void {
  const missing = [
    attestation.newTokenAccepted ? null : "the new gateway token is not accepted",
    attestation.oldTokenRefused ? null : "the pool's gateway token is still accepted",
    attestation.unitActive ? null : "the gateway's unit is not active",
    !tailnet || attestation.tailnetAddress ? null : "there is no tailnet address",
  ].filter((item) => item !== null);
  if (missing.length > 0) {
    throw new BorderError(missing.join("; "), { border: "machine", kind: "permanent", code: "not-attested" });
  }
}

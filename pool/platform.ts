/**
 * What all machines share (the platform stack): the controller's SSH key, a firewall, a private network and spread
 * placement groups. Applied when its inputs changed, and remembered as ids, so that a start costs no call at Hetzner.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import type { Gate } from "./cloud/cloud.ts";
import type { Config } from "./config/config.ts";
import { runFacts } from "./machine/terraform-run.ts";
import { auditedRun } from "./observe/audited-run.ts";
import type { Random } from "./random.ts";
import type { Sealer } from "./secrets/seal.ts";
import { publicKeyOf } from "./ssh/keys.ts";
import type { Store } from "./store/store.ts";
import { terraformError } from "./terraform/errors.ts";
import type { PlatformIds, PlatformStackInput, Terraform } from "./terraform/terraform.ts";

/** Hetzner's spread groups take ten servers. */
const placementGroupSize = 10;

/** How many groups so many machines need. */
export const placementGroupsFor = (machines: number): number =>
  Math.max(1, Math.ceil(machines / placementGroupSize));

const controllerKeySetting = "platform/controller-key";
/** The setting that holds the key's public half, when the store was rebuilt and has no other. */
const recalledKey = "platform/controller-public-key";
/** The setting that holds the stack's ids, and of what inputs they are. */
const appliedSetting = "platform/applied";

/** Takes what all machines share from terraform's own state, when the store has forgotten it. */
export async function recallPlatform(store: Store, terraform: Pick<Terraform, "platform">): Promise<void> {
  if (store.setting(appliedSetting) !== null) return;
  const found = await terraform.platform();
  if (!found) return;
  store.putSetting(recalledKey, found.controllerPublicKey);
  // Without a digest it is applied again, once the quarantine is over: with what it has, that changes nothing.
  store.putSetting(appliedSetting, JSON.stringify({ digest: "", ids: found.ids }));
}

export interface Platform {
  /** Applies the stack if its inputs changed; in quarantine never. @throws BorderError as terraform's. */
  ensure(): Promise<void>;
  /** @throws Error before the first `ensure`. */
  ids(): PlatformIds;
  inputs(): PlatformStackInput;
}

export function createPlatform(options: {
  store: Store;
  sealer: Sealer;
  terraform: Terraform;
  gate: Gate;
  config: () => Config;
  random: Pick<Random, "keyPair">;
  log: Logger;
}): Platform {
  const { store, sealer, terraform, gate, random, log } = options;
  let ids: PlatformIds | null = null;

  let publicKey: string | null = null;

  /** Hetzner wants a key with each server, or it mails a root password; no machine is ever entered with this one. */
  function controllerPublicKey(): string {
    const sealed = store.setting(controllerKeySetting);
    if (!sealed) {
      // Another one would make terraform delete the key of the platform that exists.
      const recalled = store.setting(recalledKey);
      if (recalled) return recalled;
      const pair = random.keyPair();
      store.putSetting(controllerKeySetting, sealer.seal(pair.privateKey.expose(), controllerKeySetting));
      publicKey = pair.publicKey;
    } else publicKey ??= publicKeyOf(sealer.open(sealed, controllerKeySetting));
    return publicKey;
  }

  const applied = (): { digest: string; ids: PlatformIds } | null =>
    JSON.parse(store.setting(appliedSetting) ?? "null");

  function inputs(): PlatformStackInput {
    const { instance, network, maxTotal } = options.config();
    return {
      instance,
      controllerPublicKey: controllerPublicKey(),
      sshFrom: network.sshFrom,
      networkCidr: network.cidr,
      networkZone: network.zone,
      // Never fewer than there are: a smaller max_total does not take the group away from machines that live in it.
      placementGroups: Math.max(placementGroupsFor(maxTotal), applied()?.ids.placementGroups.length ?? 0),
    };
  }

  return {
    inputs,
    ids() {
      if (!ids) throw new Error("the platform stack was not applied yet");
      return ids;
    },
    async ensure() {
      const input = inputs();
      const digest = createHash("sha256").update(JSON.stringify(input)).digest("hex");
      const before = applied();
      // Nothing is bought or replaced meanwhile; machines that a person releases need the ids.
      if (before && (before.digest === digest || store.quarantine())) {
        ids = before.ids;
        return;
      }
      if (store.quarantine()) return log.warn("no platform stack is known; none is applied in quarantine");
      const run = gate.openRun({ kind: "platform", actor: "daemon", destroy: false, priority: "refill" });
      try {
        const why = before ? "the platform's inputs changed" : "the platform was never applied";
        const account = { action: "terraform.platform", subject: "platform", why };
        const { result, ids: made } = await auditedRun(
          store,
          account,
          () => terraform.applyPlatform(input, run),
          (ended) => runFacts(ended.result, run),
        );
        if (!result.ok) throw terraformError(result);
        ids = made;
      } finally {
        run.close();
      }
      store.putSetting(appliedSetting, JSON.stringify({ digest, ids }));
      log.info({ ids }, "platform stack applied");
    },
  };
}

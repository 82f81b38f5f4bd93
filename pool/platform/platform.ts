/**
 * What all machines share (the platform stack): the controller's SSH key, a firewall, a private network and spread
 * placement groups. Applied when its inputs changed, and remembered as ids, so that a start costs no call at Hetzner.
 */
import { createHash } from "node:crypto";
import type { Logger } from "pino";
import { type Clock, minuteMs } from "../clock.ts";
import type { Cloud, Gate } from "../cloud/cloud.ts";
import type { ResourceKind } from "../cloud/resources.ts";
import type { Config } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import { ownLabels } from "../machine/labels.ts";
import { StateRepairError, type StateReport } from "../machine/state-report.ts";
import { runFacts } from "../machine/terraform-run.ts";
import { auditedRun } from "../observe/audited-run.ts";
import type { Random } from "../random.ts";
import type { Sealer } from "../secrets/seal.ts";
import { publicKeyOf } from "../ssh/keys.ts";
import type { Cause, Store } from "../store/store.ts";
import { terraformError } from "../terraform/errors.ts";
import { platformName, sharedName } from "../terraform/folders.ts";
import type { PlatformIds, PlatformStackInput, Terraform } from "../terraform/terraform.ts";
import { appliedPlatform, recalledPublicKey, rememberApplied } from "./memory.ts";
import { recallPlatform } from "./recall.ts";
import { lookAtPlatform, refusedPlatform, rememberPlatform } from "./state.ts";

/** Hetzner's spread groups take ten servers. */
const placementGroupSize = 10;

const failedFlag = "platform-failed";
/** What passes by itself is told when it has not. */
const toldAfterMs = 10 * minuteMs;

/** How many groups so many machines need. */
export const placementGroupsFor = (machines: number): number =>
  Math.max(1, Math.ceil(machines / placementGroupSize));

const controllerKeySetting = "platform/controller-key";
export interface Platform {
  /**
   * Applies the stack if its inputs changed; in quarantine never, nor on a state that is not what the last run left:
   * then a person is told, and what was made serves on. One that the store does not know is looked for first.
   * @throws BorderError as terraform's, or the cloud's; a person is told of it when it does not pass
   */
  ensure(): Promise<void>;
  /** False before the first apply, and while the store has forgotten what was made. */
  isKnown(): boolean;
  /** Why builds wait: nothing is known yet, or the stack would have to change and does not. Else null. */
  waits(): string | null;
  /** The state file, compared. @throws BorderError when the cloud cannot be asked */
  look(): Promise<StateReport>;
  /** @throws StateRepairError, and BorderError from terraform or the cloud */
  repair(how: "restore" | "import", cause: Cause & { readonly actor: string }): Promise<void>;
  /** @throws Error before the first `ensure`. */
  ids(): PlatformIds;
  inputs(): PlatformStackInput;
}

export function createPlatform(options: {
  store: Store;
  sealer: Sealer;
  terraform: Terraform;
  gate: Gate;
  cloud: Pick<Cloud, "resource" | "resources">;
  config: () => Config;
  clock: Pick<Clock, "now">;
  random: Pick<Random, "keyPair">;
  log: Logger;
}): Platform {
  const { store, sealer, terraform, gate, clock, random, log } = options;
  const states = { ...options, instance: () => options.config().instance };
  let ids: PlatformIds | null = null;
  let waits: string | null = null;
  /** Since when it could not be brought about. */
  let failingSince: number | null = null;
  let turn: Promise<unknown> = Promise.resolve();

  /** Nothing is applied while a person's repair is half done. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = turn.then(work, work);
    turn = done.catch(() => {});
    return done;
  }

  let publicKey: string | null = null;

  /** Hetzner wants a key with each server, or it mails a root password; no machine is ever entered with this one. */
  function controllerPublicKey(): string {
    // Another one would make terraform delete the key of the platform that exists.
    const recalled = recalledPublicKey(store);
    if (recalled) return recalled;
    const sealed = store.setting(controllerKeySetting);
    if (!sealed) {
      const pair = random.keyPair();
      store.putSetting(controllerKeySetting, sealer.seal(pair.privateKey.expose(), controllerKeySetting));
      publicKey = pair.publicKey;
    } else publicKey ??= publicKeyOf(sealer.open(sealed, controllerKeySetting));
    return publicKey;
  }

  function inputs(): PlatformStackInput {
    const { instance, network, maxTotal } = options.config();
    return {
      instance,
      controllerPublicKey: controllerPublicKey(),
      sshFrom: network.sshFrom,
      networkCidr: network.cidr,
      networkZone: network.zone,
      // Never fewer than there are: a smaller max_total does not take the group away from machines that live in it.
      placementGroups: Math.max(
        placementGroupsFor(maxTotal),
        appliedPlatform(store)?.ids.placementGroups.length ?? 0,
      ),
    };
  }

  async function apply(input: PlatformStackInput, digest: string, why: string): Promise<void> {
    const run = gate.openRun({ kind: "platform", actor: "daemon", destroy: false, priority: "refill" });
    try {
      const account = { action: "terraform.platform", subject: platformName, why };
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
      // Not remembered is harmless: the next look finds a newer state and asks the cloud.
      await rememberPlatform(states).catch((err: unknown) =>
        log.warn({ err }, "the platform's state could not be read after the run"),
      );
    }
    rememberApplied(store, { digest, ids });
    log.info({ ids }, "platform stack applied");
  }

  async function ensure(): Promise<void> {
    if (appliedPlatform(store) === null) {
      const instance = states.instance();
      const lacking = await recallPlatform({ ...options, instance });
      if (lacking.length > 0) throw incomplete(lacking, instance);
    }
    const input = inputs();
    const digest = createHash("sha256").update(JSON.stringify(input)).digest("hex");
    const before = appliedPlatform(store);
    ids = before?.ids ?? ids;
    // Nothing is bought or replaced meanwhile; machines that a person releases need the ids.
    if (store.quarantine()) {
      waits = null;
      if (!before) log.warn("no platform stack is known; none is applied in quarantine");
      return;
    }
    const isDue = before?.digest !== digest;
    // Also when nothing is due: better told today than on the day on which it has to change.
    const refused = await refusedPlatform(before?.ids ?? null, states).catch((err: unknown) => {
      if (isDue) throw err;
      log.warn({ err }, "the platform's state could not be compared");
      return null;
    });
    waits = isDue && refused !== null ? "the platform's terraform state is refused: clawpool state" : null;
    if (isDue && refused === null)
      await apply(input, digest, before ? "the platform's inputs changed" : "the platform was never applied");
  }

  /** A failure is the caller's to log; that it does not pass is told here. */
  async function ensureOrTell(): Promise<void> {
    try {
      await ensure();
    } catch (error) {
      failingSince ??= clock.now();
      const passes = error instanceof BorderError && error.kind === "transient";
      // A build that was begun meanwhile would wait for its group, or for its way through the firewall, and be charged for it.
      waits = failure(error);
      if (!passes || clock.now() - failingSince >= toldAfterMs) store.flag(failedFlag, platformName, waits);
      throw error;
    }
    failingSince = null;
    store.clearFlag(failedFlag, platformName, "it is as wanted");
  }

  async function restore(): Promise<void> {
    const known = store.terraformState(platformName);
    if (known === null)
      throw new StateRepairError(
        `no run has left a state of the platform; \`clawpool state import ${platformName}\` makes one from what exists`,
      );
    await terraform.replaceState(platformName, known.document);
  }

  async function importAnew(actor: string): Promise<void> {
    const made = appliedPlatform(store)?.ids;
    if (!made) throw new StateRepairError("nothing is known of the platform that could be imported");
    await terraform.replaceState(platformName, null);
    // An import that fails half way leaves a state that lacks what exists, which the next look refuses.
    store.rememberState(platformName, null);
    // The outputs come with an apply.
    rememberApplied(store, { digest: "", ids: made });
    const run = gate.openRun({ kind: "platform", actor, destroy: false, priority: "person" });
    try {
      const why = "a person wants its state made anew";
      const result = await auditedRun(
        store,
        { action: "terraform.import", subject: platformName, why, actor },
        () => terraform.importPlatform(inputs(), made, run),
        (ended) => runFacts(ended, run),
      );
      if (!result.ok) throw terraformError(result);
    } finally {
      run.close();
    }
  }

  return {
    inputs,
    isKnown: () => appliedPlatform(store) !== null,
    ids() {
      if (!ids) throw new Error("the platform stack was not applied yet");
      return ids;
    },
    waits: () => waits ?? (ids === null ? "what all machines share is not there yet" : null),
    ensure: () => inTurn(ensureOrTell),
    async look() {
      const known = store.terraformState(platformName);
      return {
        machine: platformName,
        file: terraform.stateFile(platformName),
        refused: await lookAtPlatform(appliedPlatform(store)?.ids ?? null, states),
        serverId: null,
        known: known && { serial: known.serial, resources: known.resources, at: known.at },
      };
    },
    repair: (how, { actor, run }) =>
      inTurn(async () => {
        if (store.quarantine()) throw new StateRepairError("the platform is not touched in quarantine");
        if (how === "restore") await restore();
        else await importAnew(actor);
        store.audit(actor, `terraform.state-${how === "restore" ? "restored" : "imported"}`, platformName, {
          why: "a person's command",
          run: run ?? null,
        });
        await ensureOrTell();
      }),
  };
}

/** Terraform has lost its state of it, so it can neither go on nor begin anew. */
function incomplete(lacking: readonly ResourceKind[], instance: string): BorderError {
  const labels = Object.entries(ownLabels(instance)).map(([label, value]) => `${label}=${value}`);
  const message =
    `terraform has no state of it, and Hetzner has some of it but no ${lacking.join(", no ")} called ` +
    `${sharedName(instance)}: make what lacks in Hetzner's console, with the labels ${labels.join(" and ")}`;
  return new BorderError(message, { border: "cloud", kind: "permanent", code: "platform-incomplete" });
}

const failure = (error: unknown): string =>
  `what all machines share (key, firewall, network, groups) could not be brought about: ` +
  `${error instanceof Error ? error.message : error}; it is tried each minute; machines and claims go on, builds wait`;

/** What all machines share, found again when the store has forgotten it: in terraform's state, or else at Hetzner. */
import type { Cloud } from "../cloud/cloud.ts";
import type { CloudResource, ResourceKind } from "../cloud/resources.ts";
import { BorderError } from "../errors.ts";
import { ours, ownLabels } from "../machine/labels.ts";
import type { Store } from "../store/store.ts";
import { platformName, sharedName } from "../terraform/folders.ts";
import type { Terraform } from "../terraform/terraform.ts";
import { rememberRecalled } from "./memory.ts";

export interface RecallContext {
  readonly store: Pick<Store, "setting" | "putSetting">;
  readonly terraform: Pick<Terraform, "platform" | "state">;
  readonly cloud: Pick<Cloud, "resources">;
  readonly instance: string;
}

/**
 * Remembers the platform's ids when the store does not know them and the platform is there. One without a terraform state
 * is not applied before a person has imported it, but what machines need of it is known.
 *
 * @returns the kinds that Hetzner lacks, when it has some of the platform, not all, and no state says whose that is: then
 * nothing is remembered, and another apply would only be told that the names are taken
 * @throws BorderError as the cloud's
 */
export async function recallPlatform(context: RecallContext): Promise<readonly ResourceKind[]> {
  const { store, terraform, instance } = context;
  const known = await terraform.platform();
  if (known) {
    rememberRecalled(store, known.ids, known.controllerPublicKey);
    return [];
  }
  if (await isHalfMade(terraform)) return [];
  const name = sharedName(instance);
  const [key, firewall, network] = await Promise.all([
    named(name, "ssh_key", context),
    named(name, "firewall", context),
    named(name, "network", context),
  ]);
  const placementGroups = await groupsInOrder(name, context);
  if (key?.publicKey && firewall && network) {
    const ids = { sshKey: key.id, firewall: firewall.id, network: network.id, placementGroups };
    rememberRecalled(store, ids, key.publicKey);
    return [];
  }
  if (!key && !firewall && !network && placementGroups.length === 0) return [];
  const lacking: ResourceKind[] = [];
  if (!key?.publicKey) lacking.push("ssh_key");
  if (!firewall) lacking.push("firewall");
  if (!network) lacking.push("network");
  return lacking;
}

/** A first apply that ended half way left a state to go on from. */
async function isHalfMade(terraform: RecallContext["terraform"]): Promise<boolean> {
  try {
    return ((await terraform.state(platformName))?.resources ?? 0) > 0;
  } catch (error) {
    if (error instanceof BorderError && error.code === "state-unreadable") return false;
    throw error;
  }
}

/** Labels are read again: a list that does not keep to its filter must not make another's ours. */
async function own(kind: ResourceKind, { cloud, instance }: RecallContext): Promise<CloudResource[]> {
  const labels = Object.entries(ownLabels(instance));
  const found = await cloud.resources(kind, ours(instance));
  return found.filter((resource) => labels.every(([label, value]) => resource.labels[label] === value));
}

const named = async (
  name: string,
  kind: ResourceKind,
  context: RecallContext,
): Promise<CloudResource | null> =>
  (await own(kind, context)).find((resource) => resource.name === name) ?? null;

/** A machine's row says its group by its place, so what is behind a gap is of no use. */
async function groupsInOrder(name: string, context: RecallContext): Promise<number[]> {
  const groups = new Map((await own("placement_group", context)).map((group) => [group.name, group.id]));
  const ids: number[] = [];
  for (let id = groups.get(`${name}-0`); id !== undefined; id = groups.get(`${name}-${ids.length}`))
    ids.push(id);
  return ids;
}

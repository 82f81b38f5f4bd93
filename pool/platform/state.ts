/**
 * The platform's terraform state: looked at before it is used, remembered after each run. Over a lost or an old one
 * terraform would make a second network, firewall and key, over another installation's it would change that one's.
 */
import type { Cloud } from "../cloud/cloud.ts";
import { BorderError } from "../errors.ts";
import { ownLabels } from "../machine/labels.ts";
import { stateFlag } from "../machine/state.ts";
import type { Store } from "../store/store.ts";
import { platformName } from "../terraform/folders.ts";
import { compareState, expectation, type FoundState, type StateVerdict } from "../terraform/state-check.ts";
import type { PlatformIds, SharedResource, StateSummary, Terraform } from "../terraform/terraform.ts";

export interface PlatformStates {
  readonly store: Store;
  readonly terraform: Pick<Terraform, "state" | "stateFile">;
  readonly cloud: Pick<Cloud, "resource">;
  readonly instance: () => string;
}

/**
 * Why terraform must not be run on the platform, after a person was told; null when it may.
 * @param ids what is known to have been made; null before the first apply
 * @throws BorderError as the cloud's, when it was asked in vain
 */
export async function refusedPlatform(
  ids: PlatformIds | null,
  context: PlatformStates,
): Promise<string | null> {
  const { store } = context;
  const found = await read(context);
  const verdict = await judgePlatform(ids, found, context);
  if (verdict.is === "refused") {
    const text = platformRefusal(verdict, ids, context);
    store.flag(stateFlag, platformName, text);
    return text;
  }
  if (store.flags().some(({ kind, subject }) => kind === stateFlag && subject === platformName))
    store.clearFlag(stateFlag, platformName, "its state is as it should be");
  if (verdict.is === "ahead" && found !== null && found !== "unreadable") {
    const before = store.terraformState(platformName);
    remember(found, context);
    store.audit("daemon", "terraform.state-accepted", platformName, {
      why: "it is newer than what is remembered, and the cloud agrees",
      before: before && { lineage: before.lineage, serial: before.serial, resources: before.resources },
      after: { lineage: found.lineage, serial: found.serial, resources: found.resources },
    });
  }
  return null;
}

/** The same, without telling anybody. */
export async function lookAtPlatform(
  ids: PlatformIds | null,
  context: PlatformStates,
): Promise<string | null> {
  const verdict = await judgePlatform(ids, await read(context), context);
  return verdict.is === "refused" ? platformRefusal(verdict, ids, context) : null;
}

/**
 * After a run, whatever became of it. What does not continue the state that the run was made on is not remembered, so
 * that the next look refuses it.
 */
export async function rememberPlatform(context: PlatformStates): Promise<void> {
  const found = await read(context);
  if (found === null || found === "unreadable" || found.empty) return;
  const known = context.store.terraformState(platformName);
  const goesOn =
    known === null ||
    known.resources === 0 ||
    (known.lineage === found.lineage && known.serial <= found.serial);
  if (goesOn && (known?.serial !== found.serial || known.lineage !== found.lineage)) remember(found, context);
}

function remember({ lineage, serial, resources, text }: StateSummary, { store }: PlatformStates): void {
  store.rememberState(platformName, { lineage, serial, resources, serverId: null, document: text });
}

async function read({ terraform }: PlatformStates): Promise<FoundState> {
  try {
    return await terraform.state(platformName);
  } catch (error) {
    if (error instanceof BorderError && error.code === "state-unreadable") return "unreadable";
    throw error;
  }
}

/** Compared with what is remembered; where that says too little, with what Hetzner has. */
async function judgePlatform(
  ids: PlatformIds | null,
  found: FoundState,
  { store, cloud, instance }: PlatformStates,
): Promise<StateVerdict> {
  const known = store.terraformState(platformName);
  const verdict = compareState(known, found, null);
  if (verdict.is === "refused" || found === "unreadable") return verdict;
  if (verdict.is === "as-known" && known !== null && known.resources > 0) return verdict;
  const held = found?.shared ?? [];
  const made = ids === null ? [] : resourcesOf(ids);
  for (const { kind, id } of without(made, held)) {
    if ((await cloud.resource(kind, id)) === null) continue;
    const what = found === null ? "the file is missing" : `it does not know ${kind} ${id}`;
    return { is: "refused", code: "state-lost-resource", why: `${what}, and ${kind} ${id} exists` };
  }
  for (const { kind, id } of without(held, made)) {
    const resource = await cloud.resource(kind, id);
    if (resource === null) continue;
    const labels = Object.entries(ownLabels(instance()));
    if (labels.every(([label, value]) => resource.labels[label] === value)) continue;
    const why = `it is about ${kind} ${id} (${resource.name}), which is not this installation's`;
    return { is: "refused", code: "state-foreign", why };
  }
  return held.length > 0 || verdict.is === "ahead" ? { is: "ahead" } : verdict;
}

const without = (some: readonly SharedResource[], others: readonly SharedResource[]): SharedResource[] =>
  some.filter(({ kind, id }) => !others.some((other) => other.kind === kind && other.id === id));

const resourcesOf = ({ sshKey, firewall, network, placementGroups }: PlatformIds): SharedResource[] => [
  { kind: "ssh_key", id: sshKey },
  { kind: "firewall", id: firewall },
  { kind: "network", id: network },
  ...placementGroups.map((id) => ({ kind: "placement_group" as const, id })),
];

/** For people: which file, what is wrong, what was expected, what to do. */
function platformRefusal(
  { why }: Extract<StateVerdict, { is: "refused" }>,
  ids: PlatformIds | null,
  { store, terraform }: PlatformStates,
): string {
  const known = store.terraformState(platformName);
  const made =
    ids === null
      ? "nothing"
      : resourcesOf(ids)
          .map(({ kind, id }) => `${kind} ${id}`)
          .join(", ");
  const remedies = [
    ...(known ? [`\`clawpool state restore ${platformName}\` writes back what the last run left`] : []),
    ...(ids ? [`\`clawpool state import ${platformName}\` makes a new one from what exists`] : []),
  ];
  return (
    `${terraform.stateFile(platformName)}: ${why}; expected ${known ? expectation(known, null) : made}. Terraform is not ` +
    "run on what all machines share before that is settled; machines and claims go on, and builds wait once it would " +
    `have to change: ${remedies.join("; ") || "look at the file"}`
  );
}

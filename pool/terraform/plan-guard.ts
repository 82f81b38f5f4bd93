/**
 * What a plan may do to a machine that a customer may use. Read from `terraform show -json` of the very file that is
 * applied afterwards, and strict in both directions: what is not known to be harmless is refused. Pure.
 */
import { BorderError } from "../errors.ts";
import type { PlannedResource } from "./json-log.ts";
import { serverAddress } from "./machine-stack.ts";

/** The code of the error. */
export const planRefused = "plan-refused";

/** The machine as the daemon's row knows it. */
export interface GuardedServer {
  readonly name: string;
  readonly serverId: number;
}

/**
 * Attributes of a server that the provider changes while it runs. `server_type` and `public_net` switch it off, `iso`
 * and `rescue` reset it (terraform-provider-hcloud 1.68.0, internal/server/resource.go).
 */
const changeable = [
  "labels",
  "firewall_ids",
  "backups",
  "delete_protection",
  "rebuild_protection",
  "keep_disk",
  "shutdown_before_deletion",
  "ignore_remote_firewall_ids",
  "allow_deprecated_images",
];

/**
 * @param resources the plan's resources; null when terraform gave no plan
 * @throws BorderError permanent `plan-refused`, with everything that speaks against the plan
 */
export function guardPlan(server: GuardedServer, resources: readonly PlannedResource[] | null): void {
  const objections = resources === null ? ["terraform gave no plan that could be read"] : [];
  for (const resource of resources ?? []) objections.push(...objectionsTo(resource, server));
  if (resources && !resources.some(({ address }) => address === serverAddress)) {
    objections.push(`it does not know ${serverAddress}`);
  }
  if (objections.length === 0) return;
  throw new BorderError(
    `machine ${server.name}: the plan is refused, nothing was applied: ${objections.join("; ")}`,
    { border: "terraform", kind: "permanent", code: planRefused },
  );
}

function objectionsTo({ address, actions, before, after, unknown }: PlannedResource, server: GuardedServer) {
  const does = actions.join(" and ");
  if (!["no-op", "read", "update"].includes(does)) return [`it would ${does} ${address}`];
  if (address !== serverAddress) return does === "update" ? [`it would update ${address}`] : [];
  const objections: string[] = [];
  if (before?.id !== String(server.serverId))
    objections.push(`it is about server ${before?.id}, not ${server.serverId}`);
  if (before?.name !== server.name) objections.push(`it is about ${before?.name}, not ${server.name}`);
  if (does !== "update") return objections;
  const names = new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})]);
  const changed = [...names].filter(
    (name) => !unknown.includes(name) && !equal(before?.[name], after?.[name]),
  );
  const rough = changed.filter((name) => !changeable.includes(name));
  if (rough.length > 0) objections.push(`it would change ${rough.join(", ")}`);
  return objections;
}

/** A list that is not set and an empty one are the same to the provider. */
function equal(one: unknown, other: unknown): boolean {
  const plain = (value: unknown) => JSON.stringify(value == null || isEmpty(value) ? null : value);
  return plain(one) === plain(other);
}
const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

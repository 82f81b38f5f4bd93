/**
 * Reading what `terraform … -json` prints: one JSON object a line, except where terraform gives up before it has
 * understood its arguments, or is another command (`untaint`), and prints plain text.
 */
import type { ResourceChange } from "./terraform.ts";

export interface Diagnostic {
  readonly severity: "error" | "warning";
  readonly summary: string;
  readonly detail: string;
  /** Absent from errors of a deletion: there is no configuration that they could belong to. */
  readonly address: string | null;
}

/** A resource in a plan: what happens to it, and its attributes on both sides of that. */
export interface PlannedResource {
  readonly address: string;
  /** `["delete", "create"]` is a replacement. */
  readonly actions: readonly string[];
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  /** Attributes that only the apply will tell. */
  readonly unknown: readonly string[];
}

export type LogLine =
  | { readonly type: "diagnostic"; readonly diagnostic: Diagnostic }
  | { readonly type: "planned_change"; readonly change: ResourceChange }
  | {
      readonly type: "apply_complete";
      readonly address: string;
      readonly action: string;
      readonly id: string | null;
    }
  | { readonly type: "outputs"; readonly values: Readonly<Record<string, unknown>> }
  /** All of `terraform show -json <plan file>`. */
  | { readonly type: "plan"; readonly resources: readonly PlannedResource[] }
  /** Any other line of terraform's protocol: progress, versions, summaries. */
  | { readonly type: "other"; readonly name: string; readonly message: string }
  /** Not JSON. */
  | { readonly type: "text"; readonly text: string };

export function parseLogLine(line: string): LogLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { type: "text", text: line };
  }
  if (!isRecord(value)) return { type: "text", text: line };
  // A plan with no resource at all has no such list.
  if (typeof value.format_version === "string" && isRecord(value.planned_values)) {
    const list = Array.isArray(value.resource_changes) ? value.resource_changes : [];
    return { type: "plan", resources: list.filter(isRecord).map(plannedOf) };
  }
  switch (value.type) {
    case "diagnostic":
      if (isRecord(value.diagnostic))
        return { type: "diagnostic", diagnostic: diagnosticOf(value.diagnostic) };
      break;
    case "planned_change":
      if (isRecord(value.change)) return { type: "planned_change", change: changeOf(value.change) };
      break;
    case "apply_complete":
      if (isRecord(value.hook)) {
        const { hook } = value;
        const id = typeof hook.id_value === "string" ? hook.id_value : null;
        return { type: "apply_complete", address: addressOf(hook), action: text(hook.action), id };
      }
      break;
    case "outputs":
      if (isRecord(value.outputs)) {
        const entries = Object.entries(value.outputs).filter(
          ([, output]) => isRecord(output) && "value" in output,
        );
        return {
          type: "outputs",
          values: Object.fromEntries(
            entries.map(([name, output]) => [name, (output as { value: unknown }).value]),
          ),
        };
      }
      break;
  }
  return { type: "other", name: text(value.type), message: text(value["@message"]) };
}

export function parseLog(log: string): LogLine[] {
  return log
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(parseLogLine);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === "string" ? value : "");

function plannedOf(value: Record<string, unknown>): PlannedResource {
  const change = isRecord(value.change) ? value.change : {};
  const side = (attributes: unknown) => (isRecord(attributes) ? attributes : null);
  const unknown = Object.entries(side(change.after_unknown) ?? {}).filter(([, is]) => is === true);
  return {
    address: text(value.address),
    actions: Array.isArray(change.actions) ? change.actions.map(text) : ["unknown"],
    before: side(change.before),
    after: side(change.after),
    unknown: unknown.map(([name]) => name),
  };
}

function addressOf(of: Record<string, unknown>): string {
  return isRecord(of.resource) ? text(of.resource.addr) : "";
}

function diagnosticOf(value: Record<string, unknown>): Diagnostic {
  return {
    severity: value.severity === "warning" ? "warning" : "error",
    summary: text(value.summary),
    detail: text(value.detail),
    address: typeof value.address === "string" ? value.address : null,
  };
}

function changeOf(value: Record<string, unknown>): ResourceChange {
  return { address: addressOf(value), action: actionOf(text(value.action)) };
}

/** An action that we do not know is taken for the worst, so that the guard refuses it. */
function actionOf(name: string): ResourceChange["action"] {
  switch (name) {
    case "create":
    case "update":
    case "replace":
    case "read":
      return name;
    case "noop":
    case "import":
    case "move":
      return "no-op";
    default:
      return "delete";
  }
}

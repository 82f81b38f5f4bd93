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

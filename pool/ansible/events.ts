/** What the callback plugin (ansible/callback_plugins/clawpool_jsonl.py) prints, and what follows from it. */
import { BorderError, type BorderErrorKind } from "../errors.ts";
import type { PlaybookFailure, PlaybookResult, PlaybookRun } from "./ansible.ts";

interface PlayEvent {
  readonly event: "task" | "result" | "end";
  readonly task?: string;
  readonly status?: string;
  readonly seconds?: number;
  readonly message?: string;
  readonly at: number;
  readonly custom?: { readonly clawpool_installed?: Readonly<Record<string, unknown>> };
}

type Outcome = Pick<PlaybookResult, "ok" | "failure" | "tasks" | "installed">;

export class PlayEvents {
  /** Name of the task that began last. */
  current = "";
  readonly #tasks: { name: string; seconds: number; status: string }[] = [];
  readonly #onTask: PlaybookRun["onTask"];
  #failure: PlaybookFailure | null = null;
  #unreachable: string | null = null;
  #installed: Record<string, string> = {};

  constructor(onTask: PlaybookRun["onTask"]) {
    this.#onTask = onTask;
  }

  /** One line of ansible-playbook's output; what is not an event (a warning) is ignored. */
  take(line: string): void {
    const event = parse(line);
    if (!event) return;
    const name = event.task ?? "";
    if (event.event === "task") {
      this.current = name;
      this.#onTask?.({ name, status: "started", at: event.at });
    } else if (event.event === "result") {
      const status = event.status ?? "";
      this.#tasks.push({ name, seconds: event.seconds ?? 0, status });
      this.#onTask?.({ name, status, at: event.at });
      const message = event.message ?? "";
      if (status === "failed") this.#failure = { task: name, message, kind: failureKind(message) };
      if (status === "unreachable") this.#unreachable = message;
    } else {
      for (const [key, value] of Object.entries(event.custom?.clawpool_installed ?? {})) {
        this.#installed[key] = String(value);
      }
    }
  }

  /** @throws BorderError when the host could not be reached, or Ansible itself failed before or between tasks. */
  outcome(machine: string, end: { code: number | null; stderr: string }): Outcome {
    if (this.#unreachable !== null) throw connectionError(machine, this.#unreachable);
    if (end.code !== 0 && !this.#failure) {
      const said = end.stderr.trim().slice(-2_000);
      throw new BorderError(`${machine}: ansible-playbook ended with ${end.code}: ${said}`, {
        border: "ansible",
        kind: "permanent",
        code: "playbook",
      });
    }
    const failure = end.code === 0 ? null : this.#failure;
    return { ok: end.code === 0, failure, tasks: this.#tasks, installed: this.#installed };
  }
}

function parse(line: string): PlayEvent | null {
  if (!line.startsWith("{")) return null;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "event" in value ? (value as PlayEvent) : null;
  } catch {
    return null;
  }
}

/** What apt, curl, npm, pip and git say when the other side or the way to it is the trouble. */
const networkTrouble =
  /Temporary failure in name resolution|Could not resolve|Could not connect|Connection (timed out|refused|reset)|Network is unreachable|Failed to (fetch|update apt cache)|ECONNRE(SET|FUSED)|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ERR_SOCKET_TIMEOUT|npm error network|Hash Sum mismatch|HTTP Error 5\d\d|returned error: (429|5\d\d)|Could not get lock/i;

function failureKind(message: string): BorderErrorKind {
  return networkTrouble.test(message) ? "transient" : "permanent";
}

function connectionError(machine: string, message: string): BorderError {
  const text = `${machine}: cannot be reached by SSH: ${message}`;
  if (/Host key verification failed|HOST IDENTIFICATION HAS CHANGED/.test(message)) {
    return new BorderError(text, { border: "ansible", kind: "permanent", code: "host_key" });
  }
  if (/Permission denied/.test(message)) {
    return new BorderError(text, { border: "ansible", kind: "auth", code: "refused" });
  }
  return new BorderError(text, { border: "ansible", kind: "transient", code: "unreachable" });
}

/** What the callback plugin (ansible/callback_plugins/clawpool_jsonl.py) prints, and what follows from it. */
import { kindOf } from "../error-kinds.ts";
import { BorderError } from "../errors.ts";
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
      if (status === "failed")
        this.#failure = { task: name, message, kind: kindOf("ansible", { text: message }) };
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
      throw ansibleError("playbook", `${machine}: ansible-playbook ended with ${end.code}: ${said}`);
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

function connectionError(machine: string, message: string): BorderError {
  const code = /Host key verification failed|HOST IDENTIFICATION HAS CHANGED/.test(message)
    ? "host_key"
    : /Permission denied/.test(message)
      ? "refused"
      : "unreachable";
  return ansibleError(code, `${machine}: cannot be reached by SSH: ${message}`);
}

/** @param code one that pool/error-kinds.ts knows */
export function ansibleError(code: string, text: string): BorderError {
  return new BorderError(text, { border: "ansible", kind: kindOf("ansible", { code }), code });
}

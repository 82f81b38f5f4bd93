/** ansible-playbook as the daemon uses it. Errors are BorderErrors of border `ansible`. */
import type { Secret } from "../secrets/secret.ts";

export interface PlaybookRun {
  /** Machine name: the inventory's only host. */
  readonly machine: string;
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly privateKey: Secret;
  readonly hostKey: string;
  /** Extra vars; strings are wrapped as unsafe so that no `{{…}}` in a value is evaluated. Secrets are exposed only
   *  into a file of mode 0600 that is removed when the run ends. */
  readonly vars: Readonly<Record<string, unknown>>;
  readonly secretVars: Readonly<Record<string, Secret>>;
  readonly timeoutMs: number;
  readonly onTask?: (task: { name: string; status: string; at: number }) => void;
}

export interface PlaybookResult {
  readonly run: string;
  readonly ok: boolean;
  /** Task that failed and what it said, without secrets. */
  readonly failure: { task: string; message: string } | null;
  readonly tasks: readonly { name: string; seconds: number; status: string }[];
  readonly logFile: string;
  readonly seconds: number;
}

export interface Ansible {
  /** `signal` aborts a run (machine's deadline): the process group is ended; ansible is safe to run again. */
  prepare(run: PlaybookRun, signal?: AbortSignal): Promise<PlaybookResult>;
}

/** SSH connections with pinned host keys. Never trust-on-first-use. Errors are BorderErrors of border `ssh`. */
import type { Secret } from "../secrets/secret.ts";

export interface SshTarget {
  readonly host: string;
  readonly port: number;
  readonly username: string;
  readonly privateKey: Secret;
  /** The only host key that is accepted: `ssh-ed25519 AAAA…` */
  readonly hostKey: string;
}

export interface ExecResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs; its stdin stays open until `end`. */
export interface RunningExec {
  write(data: string | Uint8Array): void;
  end(data?: string | Uint8Array): void;
  /** Complete lines of stdout as they arrive. */
  lines(): AsyncIterable<string>;
  readonly done: Promise<ExecResult>;
  close(): void;
}

export interface SshConnection {
  readonly target: SshTarget;
  /** False once the connection is known to be dead. */
  readonly alive: boolean;
  /** Runs `command` to its end; `timeoutMs` is a hard deadline (BorderError transient, code `timeout`). */
  exec(command: string, options?: { stdin?: string | Uint8Array; timeoutMs?: number }): Promise<ExecResult>;
  /** Starts `command`; the returned handle streams. */
  start(command: string): Promise<RunningExec>;
  onClose(listener: (error: Error | null) => void): void;
  close(): void;
}

export interface Ssh {
  connect(target: SshTarget, options?: { timeoutMs?: number }): Promise<SshConnection>;
}

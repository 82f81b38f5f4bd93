/** Terraform as the daemon uses it: one directory a machine, run under the rules of docs/terraform.md. */
import type { ResourceKind } from "../cloud/resources.ts";
import type { Secret } from "../secrets/secret.ts";

/** Everything the MachineStack needs; no customer text, ever. Ids of the platform are plain numbers. */
export interface MachineStackInput {
  readonly name: string;
  readonly serverType: string;
  readonly image: string;
  readonly location: string;
  readonly userData: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly platform: PlatformIds;
  readonly placementGroup: number;
}

/** What the platform stack's outputs say. */
export interface PlatformIds {
  readonly sshKey: number;
  readonly firewall: number;
  readonly network: number;
  readonly placementGroups: readonly number[];
}

export interface PlatformStackInput {
  readonly instance: string;
  readonly controllerPublicKey: string;
  /** CIDRs that may reach port 22. */
  readonly sshFrom: readonly string[];
  readonly networkCidr: string;
  readonly networkZone: string;
  readonly placementGroups: number;
}

export interface Access {
  readonly endpoint: string;
  readonly token: Secret;
}

export interface ResourceChange {
  readonly address: string;
  readonly action: "create" | "update" | "delete" | "replace" | "read" | "no-op";
}

export interface RunResult {
  /** Run id: names the log file and the audit row. */
  readonly run: string;
  readonly ok: boolean;
  readonly exitCode: number | null;
  readonly changes: readonly ResourceChange[];
  /** Error diagnostics: summary and detail as terraform printed them. */
  readonly errors: readonly { summary: string; detail: string; address: string | null }[];
  readonly logFile: string;
  readonly startedAt: number;
  readonly endedAt: number;
}

export interface SharedResource {
  readonly kind: ResourceKind;
  readonly id: number;
}

/** What the state file says; read without running terraform. */
export interface StateSummary {
  readonly serverId: number | null;
  readonly tainted: boolean;
  readonly serial: number;
  readonly lineage: string;
  readonly resources: number;
  /** What it has of the platform's; nothing in a machine's. */
  readonly shared: readonly SharedResource[];
  /** The file exists and has no content: a run was cut off before it saved anything, and what it made only the
   *  cloud knows. Never the same as "nothing was made". */
  readonly empty: boolean;
  /** The file as it is. */
  readonly text: string;
}

/** A machine's folder, whether or not there is such a machine. */
export interface StackFolder {
  readonly name: string;
  /** Of its state: `cut-off` is a file without content, whose run only the cloud can tell of. */
  readonly content: "resources" | "nothing" | "cut-off" | "unreadable";
  readonly resources: number;
  /** Terraform runs in it now, this daemon's or one that an earlier daemon left. */
  readonly isRunning: boolean;
  /** Epoch ms. */
  readonly changedAt: number;
}

export interface Terraform {
  /** Writes the stack (atomically) and applies it. With `guard`, the id of the server that a customer may use, plans
   *  first and refuses (BorderError permanent, code `plan-refused`) whatever could harm that server: plan-guard.ts. */
  applyMachine(input: MachineStackInput, access: Access, options?: { guard?: number }): Promise<RunResult>;
  destroyMachine(name: string, access: Access): Promise<RunResult>;
  /** Removes the taint that a failed poll leaves on a healthy server. */
  untaintServer(name: string, access: Access): Promise<RunResult>;
  /** Takes a server that exists into the stack's state, which must not have one. */
  importServer(input: MachineStackInput, serverId: number, access: Access): Promise<RunResult>;
  /** Throws the run's BorderError when it was not ok: without ids nothing can follow. */
  applyPlatform(input: PlatformStackInput, access: Access): Promise<{ result: RunResult; ids: PlatformIds }>;
  /** Takes what exists into the platform's state, which must have none of it. The outputs come with the next apply. */
  importPlatform(input: PlatformStackInput, ids: PlatformIds, access: Access): Promise<RunResult>;
  /** @throws BorderError permanent `state-unreadable` when the file is not a state */
  state(name: string): Promise<StateSummary | null>;
  /** Where that file is, for people. */
  stateFile(name: string): string;
  /** Puts a state file that must not be used among the run logs; with `text`, writes that state in its place. */
  replaceState(name: string, text: string | null): Promise<void>;
  /** Names of the machines that have a folder. */
  folders(): Promise<readonly string[]>;
  /** What the platform's state says; null when there is none, or not all of it. */
  platform(): Promise<{ readonly ids: PlatformIds; readonly controllerPublicKey: string } | null>;
  /** The folder of a destroyed machine; its logs are kept under `<root>/archive`. */
  forget(name: string): Promise<void>;
  /** Every folder, and what its state holds; nothing is concluded from one that was cut off or cannot be read. */
  survey(): Promise<readonly StackFolder[]>;
  /** Moves the folder, whatever it holds, to `<root>/archive`. @returns where it is now */
  archive(name: string): Promise<string>;
  /** Runs that an earlier daemon left behind and that still live; each resolves when its process is gone. */
  leftovers(): Promise<readonly { name: string; ended: Promise<void> }[]>;
}

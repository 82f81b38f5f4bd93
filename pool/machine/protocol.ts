/**
 * What controller and machine say to each other over one SSH exec of the hand-over program
 * (ansible/files/machine/main.mjs, a root-owned forced command without dependencies).
 *
 * The program is started ahead of time ("armed"): it prints `{"type":"armed",…}` once it has tried to open a control
 * connection to the gateway, and again whenever it lost or regained it, and waits on stdin for exactly one frame:
 *
 *   clawpool/1 <length of body in bytes> <sha256 of body, hex>\n<body, JSON>
 *
 * and answers in JSON lines until one of type `attested` or `failed`.
 */
import { createHash } from "node:crypto";
import type { Installed } from "./machine.ts";

export interface TailnetJoin {
  readonly key: string;
  readonly hostname: string;
  /** Absent: Tailscale's own control plane. */
  readonly controlUrl?: string;
  /** Leave the tailnet again at the end (rehearsal). */
  readonly logout?: boolean;
}

/** The agent's default model, when the order wants another than the pool's. */
export interface AgentModel {
  readonly primary: string;
}

export type MachineRequest =
  /** Make the machine serve this order, or rehearse it with the pool's own identity (`rehearsal: true`). */
  | {
      readonly op: "hand-over";
      readonly rehearsal: boolean;
      /** With `generation` the idempotency key: the same pair again changes nothing and attests again. */
      readonly order: string;
      readonly generation: number;
      /** The gateway token in force before. */
      readonly currentToken: string;
      /** The gateway token to be in force after; CLAW_GATEWAY_TOKEN in `.env`. 24-256 of A-Z a-z 0-9 _ . / : @ + = - */
      readonly gatewayToken: string;
      /**
       * All further variables of `.env`, which is replaced as a whole. Names that the gateway's config takes by
       * reference, and TELEGRAM_BOT_TOKEN, take effect at once; any other name makes it a restart (8-80 s).
       */
      readonly env: Readonly<Record<string, string>>;
      readonly model?: AgentModel;
      readonly tailnet: TailnetJoin | null;
      /** Take the controller's administrative access away (true for a real hand-over). */
      readonly dropAdmin: boolean;
      /** Force the slow way, for comparison in benchmarks: `.env` and a restart of the unit. */
      readonly way?: "reload" | "restart";
    }
  | { readonly op: "health" }
  /** Bounded restart of a unit: the gateway's unless told otherwise (a program of before knows no other). */
  | { readonly op: "repair"; readonly unit?: RepairedUnit };

/** What a repair restarts. */
export type RepairedUnit = "gateway" | "tailscaled";

/** What is asked of a machine that serves. */
export type Question = Extract<MachineRequest, { op: "health" | "repair" }>;

export interface Attestation {
  readonly newTokenAccepted: boolean;
  readonly oldTokenRefused: boolean;
  readonly unitActive: boolean;
  readonly tailnetAddress: string | null;
  readonly tailnetNode: string | null;
  /**
   * False: it joined, and Tailscale's relays could not be reached, so other nodes may not find it yet. Absent when it was to
   * join no tailnet.
   */
  readonly tailnetReachable?: boolean;
  /** Which way the gateway took its secrets. */
  readonly way: "reload" | "config" | "restart" | "unchanged";
}

/** The order of which a machine has seen anything; once written, a machine never forgets it. */
export interface HandedOver {
  readonly order: string;
  readonly generation: number;
  /** The hand-over was attested. */
  readonly done: boolean;
}

export type MachineReply =
  | {
      readonly type: "armed";
      readonly program: string;
      readonly gateway: boolean;
      /** /var/lib/clawpool/installed.json, as the playbook left it; absent in programs before it was told. */
      readonly installed?: Installed | null;
    }
  | { readonly type: "step"; readonly step: string; readonly ms: number }
  | { readonly type: "attested"; readonly attestation: Attestation; readonly ms: number }
  | {
      readonly type: "health";
      readonly unit: string;
      readonly gateway: boolean;
      readonly tailnet: string;
      /** What systemd says of tailscaled's unit; only when tailscaled does not answer. */
      readonly tailscaled?: string;
      /** Whether other nodes can find the machine; absent without Tailscale, and in programs before it was told. */
      readonly relay?: boolean;
      readonly version: string | null;
      /** Null: it never saw a customer's. Absent: it cannot tell (an older program, or its note cannot be read). */
      readonly handedOver?: HandedOver | null;
    }
  | { readonly type: "failed"; readonly step: string; readonly reason: string; readonly retryable: boolean };

/** The one frame that goes to the program's stdin. */
export function encodeFrame(request: MachineRequest): Buffer {
  const body = Buffer.from(JSON.stringify(request), "utf8");
  const digest = createHash("sha256").update(body).digest("hex");
  return Buffer.concat([Buffer.from(`clawpool/1 ${body.length} ${digest}\n`, "utf8"), body]);
}

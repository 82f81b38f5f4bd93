/**
 * What went wrong at a border (cloud, terraform, ssh, tailnet, stripe, mail), in the five kinds that decide what
 * is done about it. Each border maps its own errors into this one class; the policy for each kind is one
 * `switch` in pool/machine/policy.ts.
 *
 * - `transient`: the same call may work later (5xx, 429, cut connection, time-out)
 * - `capacity`: this location or server type has none to sell now; another may
 * - `quota`: our account may not have more; nothing but a person changes that
 * - `auth`: our credential is refused
 * - `permanent`: the same call will fail in the same way for ever
 */
export type BorderErrorKind = "transient" | "capacity" | "quota" | "auth" | "permanent";
export type Border =
  | "cloud"
  | "terraform"
  | "ssh"
  | "ansible"
  | "machine"
  | "tailnet"
  | "stripe"
  | "callback"
  | "mail";

export interface BorderErrorDetails {
  readonly border: Border;
  readonly kind: BorderErrorKind;
  /** The other side's own code, e.g. Hetzner's `resource_unavailable`; for logs and audit. */
  readonly code?: string;
  /** How long the other side asked us to wait, in milliseconds. */
  readonly retryAfterMs?: number;
  /** The run in which it happened; names its log file. */
  readonly run?: string;
  /** The end of what that run printed, without secrets. */
  readonly log?: string;
  readonly cause?: unknown;
}

export class BorderError extends Error {
  readonly border: Border;
  readonly kind: BorderErrorKind;
  readonly code: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly run: string | undefined;
  readonly log: string | undefined;

  constructor(message: string, details: BorderErrorDetails) {
    super(message, { cause: details.cause });
    this.name = "BorderError";
    this.border = details.border;
    this.kind = details.kind;
    this.code = details.code;
    this.retryAfterMs = details.retryAfterMs;
    this.run = details.run;
    this.log = details.log;
  }
}

/**
 * The daemon does not start, because only a person can say how to go on; the text names the remedy. `clawpool serve` ends
 * with exit status 78 then, and systemd does not try again.
 */
export class NeedsPersonError extends Error {
  override readonly name = "NeedsPersonError";
}

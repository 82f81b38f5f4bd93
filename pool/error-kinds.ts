/**
 * What each border says when something goes wrong, turned into the five kinds of `BorderError`, in this one place: the
 * borders only read what was said, and what is done about each kind is the other switch, pool/machine/policy.ts.
 */
import type { Border, BorderErrorKind } from "./errors.ts";

/** What a border could read of a failure. */
export interface Said {
  /** HTTP status; absent when there was no answer. */
  readonly status?: number | undefined;
  /** The other side's own code. */
  readonly code?: string | null | undefined;
  /** Its words, where there is nothing better to go by. */
  readonly text?: string | undefined;
}

export function kindOf(border: Border, said: Said): BorderErrorKind {
  switch (border) {
    case "cloud":
      return hetzner[said.code ?? ""] ?? byStatus(said.status);
    case "terraform":
      return terraform(said);
    case "ssh":
      return ssh[said.code ?? ""] ?? "transient";
    case "ansible":
      return ansible[said.code ?? ""] ?? (networkTrouble.test(said.text ?? "") ? "transient" : "permanent");
    case "machine":
      return machine[said.code ?? ""] ?? "permanent";
    case "tailnet":
      return tailnet[said.code ?? ""] ?? byStatus(said.status);
    case "stripe":
      return stripe[said.code ?? ""] ?? byStatus(said.status);
    case "callback":
      return callback(said);
    case "mail":
      return mail(said);
  }
}

type Kinds = Readonly<Record<string, BorderErrorKind>>;

/** An answer without a code that we know. No answer at all is `transient`. */
function byStatus(status: number | undefined): BorderErrorKind {
  if (status === 401 || status === 403) return "auth";
  if (status === 501) return "permanent";
  return status === undefined || status === 408 || status === 409 || status === 425 || status === 429
    ? "transient"
    : status >= 500
      ? "transient"
      : "permanent";
}

/**
 * Codes of Hetzner's API description ("Errors", and its operations' own tables); `server_limit_reached`, which is not in
 * it and answered all the same; `action_failed`, of an action: another try makes another action. Codes that are not here
 * are about the request itself (`invalid_input`, `uniqueness_error`, `protected` …): the same request fails again.
 */
const hetzner: Kinds = {
  rate_limit_exceeded: "transient",
  conflict: "transient",
  locked: "transient",
  maintenance: "transient",
  server_error: "transient",
  service_error: "transient",
  bad_gateway: "transient",
  unavailable: "transient",
  timeout: "transient",
  resource_in_use: "transient",
  action_failed: "transient",
  no_answer: "transient",
  resource_unavailable: "capacity",
  placement_error: "capacity",
  no_space_left_in_location: "capacity",
  resource_limit_exceeded: "quota",
  server_limit_reached: "quota",
  unauthorized: "auth",
  token_readonly: "auth",
  forbidden: "auth",
  uniqueness_error: "permanent",
};

/** No answer, or none in time; what passes by itself; and what this host has none left of for now. */
const passing =
  /: EOF$|unexpected EOF|connection (?:refused|reset)|i\/o timeout|context (?:canceled|deadline exceeded)|no such host|TLS handshake|actions not found|Error acquiring the state lock|Plugin did not respond|Failed to (?:save|persist) state|no space left on device|too many open files|cannot allocate memory|resource temporarily unavailable/;

/** The provider passes Hetzner's codes on; without one, terraform's own words are all there is. */
function terraform({ status, code, text = "" }: Said): BorderErrorKind {
  if (code || status !== undefined) return kindOf("cloud", { code, status });
  return passing.test(text) ? "transient" : "permanent";
}

/** What ssh2 and the socket say, by our own codes (pool/ssh/ssh2.ts). Anything else is a connection that broke. */
const ssh: Kinds = {
  auth: "auth",
  "host-key": "permanent",
  config: "permanent",
  "first-boot": "permanent",
};

/** Of the whole run; a failed task is judged by its message. */
const ansible: Kinds = {
  timeout: "transient",
  aborted: "transient",
  unreachable: "transient",
  refused: "auth",
  host_key: "permanent",
  playbook: "permanent",
};

/** What apt, curl, npm, pip and git say when the other side or the way to it is the trouble. */
const networkTrouble =
  /Temporary failure in name resolution|Could not resolve|Could not connect|Connection (timed out|refused|reset)|Network is unreachable|Failed to (fetch|update apt cache)|ECONNRE(SET|FUSED)|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|ERR_SOCKET_TIMEOUT|npm error network|Hash Sum mismatch|HTTP Error 5\d\d|returned error: (429|5\d\d)|Could not get lock/i;

/** What the hand-over's session meets; what the program itself says is `retryable` or not by its own word. */
const machine: Kinds = {
  ended: "transient",
  dropped: "transient",
  timeout: "transient",
  "not-armed": "transient",
  retryable: "transient",
};

/** RFC 6749's; Tailscale's own answers have a status and words only. */
const tailnet: Kinds = {
  invalid_client: "auth",
  unauthorized_client: "auth",
  invalid_scope: "auth",
  access_denied: "auth",
  no_answer: "transient",
  bad_answer: "permanent",
};

/** Stripe's codes where the status alone would mislead. */
const stripe: Kinds = {
  rate_limit: "transient",
  lock_timeout: "transient",
  idempotency_key_in_use: "transient",
  api_key_expired: "auth",
  platform_api_key_expired: "auth",
  secret_key_required: "auth",
};

/**
 * Standard Webhooks: everything but 2xx is tried again, since a wrong deployment answers 404 for an hour; 410 says that
 * nobody wants it any more. What is too large stays so.
 */
function callback({ status }: Said): BorderErrorKind {
  if (status === 410 || status === 413) return "permanent";
  return status === 401 || status === 403 ? "auth" : "transient";
}

/**
 * RFC 5321: a 5xx to sender, recipient or mail is for good, a 4xx passes. Before these (nodemailer's other codes) it is
 * the server that is in trouble, not the mail.
 */
function mail({ status, code }: Said): BorderErrorKind {
  if (code === "EAUTH" || status === 530 || status === 535) return "auth";
  const aboutTheMail = code === "EENVELOPE" || code === "EMESSAGE";
  return aboutTheMail && status !== undefined && status >= 500 ? "permanent" : "transient";
}

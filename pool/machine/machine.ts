/**
 * The life of a machine: its states, what is known in each, and which may follow which.
 *
 *   planned       an intent row exists (unique name, labels); nothing was bought yet
 *   creating      terraform is buying the server; the gate writes the server id here before terraform sees it
 *   booting       the server exists; waiting for sshd with the host key that we put into cloud-init, then
 *                 replacing that key by one born on the machine
 *   preparing     ansible-playbook runs ansible/prepare.yml over SSH
 *   proving       the hand-over is rehearsed with the pool's own throw-away identity; ready machines come back here
 *   ready         warm, proved, claimable
 *   claimed       bound to one order; from here on the machine is never offered again
 *   handing-over  the hand-over document was sent, or may have been
 *   serving       the customer's; the order's subscription decides how long
 *   suspending    the order may not be served now (pool/order/entitlement.ts); being switched off, everything is kept
 *   suspended     switched off; disk, address and tailnet device are kept, and Hetzner bills on
 *   resuming      the order may be served again; switched on, until it is proved to serve
 *   releasing     the order has ended; being destroyed
 *   retiring      never had an order (or failed before one saw it); being destroyed
 *   failed        a step failed for good; kept as a specimen or waiting to be retired
 *   destroyed     the cloud answered 404 for the server; terminal
 *
 *   planned → creating → booting → preparing → proving → ready → claimed → handing-over → serving → releasing → destroyed
 *   ready → proving → ready now and then, for about a second
 *   serving → suspending → suspended → resuming → serving, and from each of these → releasing
 *   any unclaimed state → retiring → destroyed       any state before serving → failed → retiring | releasing
 */
import { strict as assert } from "node:assert";

/** The machine's unique name: server name at Hetzner, stack id, terraform folder. Never digits only (the provider
 *  would adopt a server whose name equals a lost id). */
export type MachineName = string & { readonly __brand: "MachineName" };
export type OrderId = string & { readonly __brand: "OrderId" };

const namePattern = /^[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?$/;

const suffixPattern = /^[a-z2-7]{10}$/;

/** The name of a new machine; `suffix`: ten letters of base32. */
export const newName = (instance: string, suffix: string): MachineName =>
  machineName(`claw-${instance}-${suffix}`);

/** Whether a machine of this installation may be, or have been, called so. */
export const isOwnName = (instance: string, text: string): boolean =>
  text.startsWith(`claw-${instance}-`) && suffixPattern.test(text.slice(`claw-${instance}-`.length));

/** Checks that `text` can be a machine name. Throws with the text and the rule if not. */
export function machineName(text: string): MachineName {
  if (!namePattern.test(text)) {
    throw new Error(
      `machine name ${JSON.stringify(text)}: want a lower-case letter, then up to 49 of a-z 0-9 -, not ending in -`,
    );
  }
  return text as MachineName;
}

export const machineStates = [
  "planned",
  "creating",
  "booting",
  "preparing",
  "proving",
  "ready",
  "claimed",
  "handing-over",
  "serving",
  "suspending",
  "suspended",
  "resuming",
  "releasing",
  "retiring",
  "failed",
  "destroyed",
] as const;
export type MachineState = (typeof machineStates)[number];

/** From the hand-over to the end: the machine is one customer's, switched on or not. */
export const customersStates: readonly MachineState[] = ["serving", "suspending", "suspended", "resuming"];

const following: Readonly<Record<MachineState, readonly MachineState[]>> = {
  planned: ["creating", "failed", "retiring"],
  creating: ["booting", "failed", "retiring"],
  booting: ["preparing", "failed", "retiring"],
  preparing: ["proving", "failed", "retiring"],
  proving: ["ready", "failed", "retiring"],
  ready: ["claimed", "proving", "failed", "retiring"],
  claimed: ["handing-over", "failed", "releasing"],
  "handing-over": ["serving", "failed", "releasing"],
  serving: ["suspending", "releasing"],
  // Not back to resuming: a shutdown that was asked for may come at any time, and nothing calls it off.
  suspending: ["suspended", "releasing"],
  suspended: ["suspending", "resuming", "releasing"],
  resuming: ["serving", "suspending", "releasing"],
  releasing: ["destroyed"],
  retiring: ["destroyed"],
  failed: ["retiring", "releasing"],
  destroyed: [],
};

/** Asserts that `from` may become `to`; every transition in the store goes through here. */
export function assertTransition(name: string, from: MachineState, to: MachineState): void {
  assert(following[from].includes(to), `machine ${name} cannot go from ${from} to ${to}`);
}

/** What `prepare.yml` recorded as installed: versions and hashes by component name. Staleness is judged by this. */
export type Installed = Readonly<Record<string, string>>;

/**
 * A row of the store. Optional facts are null until the stage that learns them has run; the accessors below
 * (`address`, …) assert instead of guessing.
 */
export interface Machine {
  readonly name: MachineName;
  readonly state: MachineState;
  readonly pool: string;
  readonly plan: string;
  readonly serverType: string;
  readonly location: string;
  readonly image: string;
  /** Index of the platform's placement group that the server is put into. */
  readonly placementGroup: number;
  readonly createdAt: number;
  readonly stateSince: number;
  /** When the present state has lasted too long (epoch ms); null in states that may last. */
  readonly deadline: number | null;
  /** How often the present state's work was tried. */
  readonly attempts: number;
  /** Not looked at again before (epoch ms). */
  readonly nextLookAt: number;
  readonly serverId: number | null;
  readonly ipv4: string | null;
  /** Pinned SSH host key, one `ssh-ed25519 AAAA…` line. */
  readonly hostKey: string | null;
  /** What it shows instead once its own host key is in place (only meaningful while booting). */
  readonly nextHostKey: string | null;
  readonly installed: Installed | null;
  /** When it became ready first. */
  readonly readyAt: number | null;
  /** When a rehearsal of the hand-over last did well. */
  readonly provedAt: number | null;
  /** Proofs missed since. One: claimed last, and proved again soon; two: retired. */
  readonly misses: number;
  /** When its build ended, well (`readyAt` is known) or not; never changed after. */
  readonly buildEndedAt: number | null;
  /** Kind of the error that it failed of (`BorderErrorKind`); null when it did not fail, or of nothing that a border said. */
  readonly failure: string | null;
  /** Failed, and kept until then (epoch ms) so that a person can look at it. */
  readonly specimenUntil: number | null;
  readonly order: OrderId | null;
  /** Who said, by the machine's name, that it goes although its order is live (`person:<name>`). */
  readonly endConfirmedBy: string | null;
  /** A person works on it: not claimable meanwhile. */
  readonly withheld: boolean;
  /**
   * Why nobody works on it until a person releases it, in words: its row came back from a backup, was made anew, or the
   * machine itself contradicts it.
   * Null for all others. A held machine is not looked at, not claimed, and the gate lets nothing happen to it.
   */
  readonly held: string | null;
  /** Counts hand-over attempts' identities: with `order` the idempotency key on the machine. */
  readonly generation: number;
  readonly tailnetNode: string | null;
  readonly tailnetAddress: string | null;
  /** Tailscale's own side confirmed the enrolment (only meaningful while serving). */
  readonly enrolled: boolean;
  /** Order and Stripe customer are labels of the VM (only meaningful while serving). */
  readonly labelled: boolean;
  /** Why the machine failed or was retired, in words. */
  readonly reason: string | null;
}

/** A ready machine is proved again: it was claimable before, and is so again after a miss. */
export const isProvedAgain = ({ state, readyAt }: Machine): boolean =>
  state === "proving" && readyAt !== null;

/** Its row is open: it has a server, or may get one. */
export const isLive = <M extends Pick<Machine, "state">>(machine: M | null): machine is M =>
  machine !== null && machine.state !== "destroyed";

/** The one predicate for "claimable": count, list, claim and metrics all use it (the store has it as SQL too). */
export function isClaimable(machine: Machine): boolean {
  return machine.state === "ready" && machine.order === null && !machine.withheld && machine.held === null;
}

export function address(machine: Machine): string {
  assert(machine.ipv4, `machine ${machine.name} has no address in state ${machine.state}`);
  return machine.ipv4;
}

/** Sealed beside the row, opened only by the stage that needs them. */
export interface MachineSecrets {
  /** PEM of the per-machine controller key (admin until hand-over, forced command after). */
  readonly controllerKey: string;
  /** PEM of the host key that cloud-init installs; worthless once the machine has made its own. */
  readonly bootHostKey: string;
  /** The gateway token the pool uses until hand-over. */
  readonly poolToken: string;
}

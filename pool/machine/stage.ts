/** What every stage of a machine's life gets, and what it answers. */
import type { Logger } from "pino";
import type { Ansible } from "../ansible/ansible.ts";
import type { Clock } from "../clock.ts";
import type { Cloud, Gate } from "../cloud/cloud.ts";
import type { Config } from "../config/config.ts";
import type { Random } from "../random.ts";
import type { Ssh } from "../ssh/ssh.ts";
import type { Store } from "../store/store.ts";
import type { KeyStock, Tailnet } from "../tailnet/tailnet.ts";
import type { PlatformIds, Terraform } from "../terraform/terraform.ts";
import type { ArmedMachines } from "./armed.ts";
import type { Machine, MachineName, OrderId } from "./machine.ts";

export interface StageContext {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: () => Config;
  readonly cloud: Cloud;
  readonly gate: Gate;
  readonly terraform: Terraform;
  readonly platform: () => PlatformIds;
  /** Why nothing is bought for now: what all machines share would have to change, and cannot; null: it is as wanted. */
  readonly platformWaits: () => string | null;
  readonly ansible: Ansible;
  readonly ssh: Ssh;
  readonly armed: ArmedMachines;
  readonly tailnet: Tailnet | null;
  readonly keys: KeyStock | null;
  /** Stripe, asked again, agrees that the order's session was paid. Survives a restart by asking again. */
  readonly confirmation: (order: OrderId) => Promise<"agreed" | "disagreed">;
  /** Stripe, asked now, shows that the order's subscription is over. @throws BorderError when it cannot be asked */
  readonly hasEnded: (order: OrderId) => Promise<boolean>;
  /**
   * Cancels the subscription of an order that was suspended for too long, if Stripe, asked now, still says so.
   * @throws BorderError when it cannot be asked
   */
  readonly cancelSuspended: (order: OrderId) => Promise<void>;
  /** Why the machine, nothing of which exists yet, is not needed any more; null: it is. */
  readonly calledOff: (machine: Machine) => string | null;
  /** Another machine than the one that is looked at has something to do: look at it now. */
  readonly poke: (machine: MachineName) => void;
  readonly log: Logger;
}

/** When to look at the machine again; a stage that moved the machine on answers "at once". */
export type Next = { readonly againInMs: number };

export const atOnce: Next = { againInMs: 0 };

/**
 * A small idempotent reconciler: it looks at what is, does one thing, and says when to look again. Errors of borders
 * go up; policy.ts decides what becomes of the machine. `signal` aborts at the state's deadline and at shutdown.
 */
export type Stage = (machine: Machine, context: StageContext, signal: AbortSignal) => Promise<Next>;

import type { Clock } from "../../../pool/clock.ts";
import type { MachineBackend } from "../machines/backend.ts";
import type { ActionEngine } from "./actions/engine.ts";
import type { Billing } from "./billing.ts";
import type { Faults } from "./faults.ts";
import type { Kind } from "./store/documents.ts";
import type { Store } from "./store/store.ts";

/** What every handler works with. One emulator is one Hetzner account with several projects. */
export interface Context {
  readonly store: Store;
  readonly actions: ActionEngine;
  readonly billing: Billing;
  readonly backend: MachineBackend;
  readonly clock: Clock;
  readonly faults: Faults;
  /** `assignee_type` of a Primary IP without an assignee. */
  readonly unassignedType: "server" | "unassigned";
  /** Of the whole account: Hetzner counts by account, not by project. What is not here is not limited. */
  readonly limits: Readonly<Partial<Record<Kind, number>>>;
}

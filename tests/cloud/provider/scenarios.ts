/** What people do with the provider, step by step; each scenario begins in an empty project. */
import type { FaultInput } from "../hetzner/faults.ts";
import type { Hetzner } from "../hetzner/hetzner.ts";
import { addressScenarios } from "./scenarios/addresses.ts";
import { diskScenarios } from "./scenarios/disks.ts";
import { failureScenarios } from "./scenarios/failures.ts";
import { firewallScenarios } from "./scenarios/firewalls.ts";
import { importScenarios } from "./scenarios/imports.ts";
import { lookupScenarios } from "./scenarios/lookups.ts";
import { networkScenarios } from "./scenarios/networks.ts";
import { serverScenarios } from "./scenarios/servers.ts";

export interface Scenario {
  readonly name: string;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly name: string;
  /** Written before the command; left out: as it was. */
  readonly config?: object;
  /**
   * Without `-auto-approve` and the like; default `apply`. `forget` takes everything out of the state, `import ADDRESS`
   * brings a resource back by the id that it had.
   */
  readonly does?: readonly string[];
  /** True when the requests come in any order: nothing waits for another. */
  readonly anyOrder?: boolean;
  /** Set before the command and taken back after it. */
  readonly faults?: readonly FaultInput[];
  /** Method and beginning of the path of the request during which terraform gets a SIGINT. */
  readonly interrupt?: readonly [method: string, path: string];
  /** What others do in the cloud before the command. */
  readonly meanwhile?: (hetzner: Hetzner) => Promise<unknown>;
  /** `hcloud_server.a.name`, or `hcloud_server.a` for all, from the state after the command. */
  readonly state?: readonly string[];
}

export const scenarios: readonly Scenario[] = [
  ...serverScenarios,
  ...addressScenarios,
  ...networkScenarios,
  ...firewallScenarios,
  ...diskScenarios,
  ...lookupScenarios,
  ...importScenarios,
  ...failureScenarios,
];

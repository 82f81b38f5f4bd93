/** What the last look found, kept in the store until the machines are released. */
import type { Machine, MachineName } from "../machine/machine.ts";
import { findingsSetting, type Quarantine } from "../store/quarantine.ts";
import type { Store } from "../store/store.ts";

export interface Finding {
  readonly machine: MachineName;
  /** False: a person must say what is to become of it. */
  readonly sure: boolean;
  readonly text: string;
}

export interface Findings {
  /** Epoch ms. */
  readonly at: number;
  /** When the quarantine began that they are of (epoch ms). */
  readonly quarantineSince: number | null;
  readonly machines: readonly Finding[];
}

export function noteFindings(
  store: Pick<Store, "putSetting" | "quarantine">,
  machines: readonly Finding[],
  at: number,
): void {
  const findings: Findings = { at, quarantineSince: store.quarantine()?.since ?? null, machines };
  store.putSetting(findingsSetting, JSON.stringify(findings));
}

/** Null before the first look. One of an earlier quarantine tells nothing of what happened since. */
export function readFindings(store: Pick<Store, "setting" | "quarantine">): Findings | null {
  const text = store.setting(findingsSetting);
  if (text === null) return null;
  const findings = JSON.parse(text) as Findings;
  const quarantine = store.quarantine();
  return quarantine && findings.quarantineSince !== quarantine.since ? null : findings;
}

/** Whether the last look was sure of this machine, and it is held for what that look found. */
export const isSure = (findings: Findings | null, { name, held }: Machine): boolean =>
  findings?.machines.some(({ machine, sure, text }) => machine === name && sure && text === held) ?? false;

/** What `clawpool recover status` shows. */
export interface RecoveryStatus {
  readonly quarantine: Quarantine | null;
  /** When everything was looked at last (epoch ms). */
  readonly inspectedAt: number | null;
  readonly machines: readonly {
    readonly name: MachineName;
    readonly state: string;
    readonly server: number | null;
    readonly order: string | null;
    readonly sure: boolean;
    readonly text: string;
  }[];
  /** Orders that are paid and have no machine, with their state. */
  readonly orders: readonly { readonly id: string; readonly state: string; readonly text: string }[];
}

export function recoveryStatus(store: Store): RecoveryStatus {
  const findings = readFindings(store);
  const held = store.machines({ live: true }).filter((machine) => machine.held !== null);
  return {
    quarantine: store.quarantine(),
    inspectedAt: findings?.at ?? null,
    machines: held.map((machine) => ({
      name: machine.name,
      state: machine.state,
      server: machine.serverId,
      order: machine.order,
      sure: isSure(findings, machine),
      text: machine.held ?? "",
    })),
    orders: store
      .orders({ states: ["queued", "failed"] })
      .map(({ id, state, reason }) => ({ id, state, text: reason ?? "paid, waits for a machine" })),
  };
}

/** What the last look found, kept in the store until the machines are released. */
import type { MachineName } from "../machine/machine.ts";
import type { Quarantine } from "../store/quarantine.ts";
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
  readonly machines: readonly Finding[];
}

const setting = "quarantine/findings";

export function noteFindings(
  store: Pick<Store, "putSetting">,
  machines: readonly Finding[],
  at: number,
): void {
  store.putSetting(setting, JSON.stringify({ at, machines } satisfies Findings));
}

/** Null before the first look. */
export function readFindings(store: Pick<Store, "setting">): Findings | null {
  const text = store.setting(setting);
  return text === null ? null : (JSON.parse(text) as Findings);
}

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
    machines: held.map(({ name, state, serverId, order, held: why }) => ({
      name,
      state,
      server: serverId,
      order,
      sure: findings?.machines.find(({ machine }) => machine === name)?.sure ?? false,
      text: why ?? "",
    })),
    orders: store
      .orders({ states: ["queued", "failed"] })
      .map(({ id, state, reason }) => ({ id, state, text: reason ?? "paid, waits for a machine" })),
  };
}

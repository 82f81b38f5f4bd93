/** Gate, upstream and ledger together, as the tests of this folder use them. */
import { createBudget } from "../../pool/cloud/budget.ts";
import type { Gate, GateLedger, GateRun, RunPermit } from "../../pool/cloud/cloud.ts";
import { createGate, type GateTiming } from "../../pool/cloud/gate/gate.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { fastClock } from "../virtual-clock.ts";
import { startUpstream, type Upstream, type UpstreamOptions } from "./upstream.ts";

export const realToken = "r".repeat(64);
type Row = { state: string; serverId: number | null; order: string | null; mayDestroy: boolean };

export interface MemoryLedger extends GateLedger {
  /** What `leads` answers. */
  leading: boolean;
  readonly rows: Map<string, Row>;
  readonly refusals: string[];
}

export function memoryLedger(rows: Record<string, Partial<Row>> = {}): MemoryLedger {
  const map = new Map<string, Row>(
    Object.entries(rows).map(([name, row]) => [
      name,
      { state: "creating", serverId: null, order: null, mayDestroy: false, ...row },
    ]),
  );
  const refusals: string[] = [];
  const ledger: MemoryLedger = {
    leading: true,
    rows: map,
    refusals,
    leads: () => ledger.leading,
    machine: (name) => map.get(name) ?? null,
    machineByServerId: (id) => {
      const found = [...map].find(([, row]) => row.serverId === id);
      return found ? { name: found[0] } : null;
    },
    recordServerId(name, id) {
      const row = map.get(name);
      if (!row) throw new Error(`no row ${name}`);
      map.set(name, { ...row, serverId: id });
    },
    recordRefusal: (_run, request, reason) => void refusals.push(`${request}: ${reason}`),
  };
  return ledger;
}

export function permit(machine: string, grants: Partial<RunPermit & { kind: "machine" }> = {}): RunPermit {
  return {
    kind: "machine",
    machine,
    actor: "test",
    create: true,
    update: true,
    destroy: true,
    priority: "refill",
    ...grants,
  };
}

export interface Rig {
  readonly upstream: Upstream;
  readonly gate: Gate;
  readonly ledger: MemoryLedger;
  readonly warnings: string[];
  /** The real token and the real endpoint, as the bare provider would have them. */
  readonly bare: { endpoint: string; token: Secret };
  openRun(machine: string, grants?: Partial<RunPermit & { kind: "machine" }>): GateRun;
  close(): Promise<void>;
}

export interface RigOptions extends UpstreamOptions {
  readonly rows?: Record<string, Partial<Row>>;
  readonly timing?: Partial<GateTiming>;
  /** How fast the gate's clock runs; its time-outs are made long enough not to strike by that. */
  readonly factor?: number;
  readonly requestsPerHour?: number;
}

export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const { factor = 20 } = options;
  const clock = fastClock(factor);
  const upstream = await startUpstream(options);
  const ledger = memoryLedger(options.rows);
  const warnings: string[] = [];
  const note = (_fields: unknown, message?: string) => void warnings.push(message ?? "");
  const gate = await createGate({
    upstream: { endpoint: upstream.endpoint, token: new Secret(realToken) },
    ledger,
    budget: createBudget({ requestsPerHour: options.requestsPerHour ?? 3_600, clock }),
    clock,
    log: { info: note, warn: note, error: note },
    timing: {
      deadlineMs: 90_000 * factor,
      readTimeoutMs: 10_000 * factor,
      writeTimeoutMs: 30_000 * factor,
      closeMs: 10_000 * factor,
      ...options.timing,
    },
  });
  return {
    upstream,
    gate,
    ledger,
    warnings,
    bare: { endpoint: upstream.endpoint, token: new Secret(realToken) },
    openRun: (machine, grants) => gate.openRun(permit(machine, grants)),
    async close() {
      await gate.close();
      await upstream.close();
    },
  };
}

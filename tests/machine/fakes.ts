/**
 * The borders of a machine's life, made by hand: each records its calls, fails once with `nextError`, and forgets with
 * `reset()`. The store behind them is the real one.
 */
import { pino } from "pino";
import type { Ansible, PlaybookResult, PlaybookRun } from "../../pool/ansible/ansible.ts";
import type { Config } from "../../pool/config/config.ts";
import { parseConfig } from "../../pool/config/load.ts";
import { BorderError } from "../../pool/errors.ts";
import type { ArmedMachines } from "../../pool/machine/armed.ts";
import type {
  ArmedMachine,
  HandOverRequest,
  HandOverResult,
  HealthReply,
} from "../../pool/machine/hand-over-session.ts";
import type { Installed, MachineName, OrderId } from "../../pool/machine/machine.ts";
import type { StageContext } from "../../pool/machine/stage.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import type { ExecResult, Ssh, SshTarget } from "../../pool/ssh/ssh.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import type { AuthKeyShown, KeyStock, Tailnet, TailnetDevice } from "../../pool/tailnet/tailnet.ts";
import type {
  MachineStackInput,
  PlatformIds,
  PlatformStackInput,
  RunResult,
  StackFolder,
  StateSummary,
  Terraform,
} from "../../pool/terraform/terraform.ts";
import { env, example } from "../config/example.ts";
import { VirtualClock } from "../virtual-clock.ts";
import { FakeCloud, FakeGate, Fallible, platformIds } from "./fake-cloud.ts";

export const failedRun = (summary: string, detail = ""): Partial<RunResult> => ({
  ok: false,
  exitCode: 1,
  errors: [{ summary, detail, address: "hcloud_server.server" }],
});

export class FakeTerraform extends Fallible implements Terraform {
  readonly applied: { input: MachineStackInput; guard: number | null }[] = [];
  readonly calls: string[] = [];
  readonly states = new Map<string, StateSummary>();
  /** Machines whose state file is damaged. */
  readonly unreadable = new Set<string>();
  /** Of the next run. */
  nextResult: Partial<RunResult> | null = null;
  /** What an apply for this machine waits for; null for nothing. */
  hangs: (name: string) => Promise<void> | null = () => null;
  /** What an apply that works leaves behind. */
  onApply: (input: MachineStackInput) => void = () => {};

  #result(): RunResult {
    this.fail();
    const result = { ...goodRun, run: `run-${this.calls.length}`, ...this.nextResult };
    this.nextResult = null;
    return result;
  }
  async applyMachine(input: MachineStackInput, _access: unknown, options: { guard?: number } = {}) {
    this.calls.push(`apply ${input.name} ${input.location}`);
    this.applied.push({ input, guard: options.guard ?? null });
    await this.hangs(input.name);
    const result = this.#result();
    if (result.ok) this.onApply(input);
    return result;
  }
  async destroyMachine(name: string) {
    this.calls.push(`destroy ${name}`);
    const result = this.#result();
    // As terraform does: the file stays, without resources.
    const before = this.states.get(name);
    if (result.ok) this.states.set(name, stateOf(null, { ...before, serial: (before?.serial ?? 0) + 1 }));
    return result;
  }
  async untaintServer(name: string) {
    this.calls.push(`untaint ${name}`);
    const result = this.#result();
    const state = this.states.get(name);
    if (result.ok && state) this.states.set(name, { ...state, tainted: false, serial: state.serial + 1 });
    return result;
  }
  async importServer({ name }: MachineStackInput, serverId: number) {
    this.calls.push(`import ${name} ${serverId}`);
    const result = this.#result();
    if (result.ok) this.states.set(name, stateOf(serverId, { lineage: "imported" }));
    return result;
  }
  stateFile = (name: string) => `/terraform/machines/${name}/terraform.tfstate`;
  async replaceState(name: string, text: string | null) {
    this.calls.push(`${text === null ? "put aside" : "restore"} ${name}`);
    this.unreadable.delete(name);
    if (text === null) this.states.delete(name);
    else this.states.set(name, JSON.parse(text));
  }
  async applyPlatform() {
    this.calls.push("platform");
    const result = this.#result();
    const before = this.states.get("platform");
    const { lineage = "p", serial = 0 } = before ?? {};
    if (result.ok) this.states.set("platform", platformStateOf({ lineage, serial: serial + 1 }));
    return { result, ids: platformIds };
  }
  async importPlatform(_input: PlatformStackInput, ids: PlatformIds) {
    this.calls.push(`import platform ${ids.network}`);
    const result = this.#result();
    if (result.ok) this.states.set("platform", platformStateOf({ lineage: "imported", serial: 7 }));
    return result;
  }
  async state(name: string) {
    if (this.unreadable.has(name)) {
      const code = "state-unreadable";
      throw new BorderError("not a terraform state", { border: "terraform", kind: "permanent", code });
    }
    const state = this.states.get(name) ?? null;
    return state && { ...state, text: JSON.stringify(state) };
  }
  async folders() {
    return [...this.states.keys()].filter((name) => name !== "platform");
  }
  async platform() {
    const isMade = (this.states.get("platform")?.resources ?? 0) > 0;
    return isMade ? { ids: platformIds, controllerPublicKey: "ssh-ed25519 AAAA" } : null;
  }
  async forget(name: string) {
    this.calls.push(`forget ${name}`);
  }
  readonly folderList: StackFolder[] = [];
  async survey() {
    this.fail();
    return [...this.folderList];
  }
  async archive(name: string) {
    this.calls.push(`archive ${name}`);
    return `/terraform/archive/${name}`;
  }
  async leftovers() {
    return [];
  }
  reset(): void {
    this.applied.length = 0;
    this.calls.length = 0;
    this.states.clear();
    this.unreadable.clear();
    this.nextError = null;
    this.nextResult = null;
    this.onApply = () => {};
  }
}

const goodRun: RunResult = {
  run: "run",
  ok: true,
  exitCode: 0,
  changes: [],
  errors: [],
  logFile: "/dev/null",
  startedAt: 0,
  endedAt: 1,
};

/** The platform's, with all that the fake Hetzner has of it. */
export const platformStateOf = (change: Partial<StateSummary> = {}): StateSummary => {
  const { sshKey, firewall, network, placementGroups } = platformIds;
  const shared = [
    { kind: "ssh_key", id: sshKey } as const,
    { kind: "firewall", id: firewall } as const,
    { kind: "network", id: network } as const,
    ...placementGroups.map((id) => ({ kind: "placement_group", id }) as const),
  ];
  return { ...stateOf(null, { lineage: "p" }), shared, resources: shared.length + 1, ...change };
};

export const stateOf = (serverId: number | null, change: Partial<StateSummary> = {}): StateSummary => ({
  shared: [],
  tainted: false,
  serial: 1,
  lineage: "l",
  empty: false,
  text: "",
  ...change,
  serverId,
  resources: serverId === null ? 0 : 1,
});

export class FakeAnsible extends Fallible implements Ansible {
  readonly runs: PlaybookRun[] = [];
  currentRecipe = "recipe-1";
  nextResult: Partial<PlaybookResult> | null = null;

  async recipe() {
    return this.currentRecipe;
  }
  async prepare(run: PlaybookRun): Promise<PlaybookResult> {
    this.runs.push(run);
    this.fail();
    const result = { ...preparation, ...this.nextResult };
    this.nextResult = null;
    return result;
  }
  reset(): void {
    this.runs.length = 0;
    this.nextError = null;
    this.nextResult = null;
  }
}

const preparation: PlaybookResult = {
  run: "play",
  ok: true,
  failure: null,
  tasks: [],
  logFile: "/dev/null",
  seconds: 1,
  installed: { openclaw: "1.2.3" },
};

export class FakeSsh extends Fallible implements Ssh {
  readonly targets: SshTarget[] = [];
  readonly commands: string[] = [];
  open = 0;
  nextExec: ExecResult = { code: 0, stdout: "", stderr: "" };
  /** What the machine shows; null shows whatever key is asked for. */
  hostKey: string | null = null;
  /** Happens while a command runs. */
  onExec: (command: string) => void = () => {};

  async connect(target: SshTarget) {
    this.targets.push(target);
    this.fail();
    if (this.hostKey !== null && this.hostKey !== target.hostKey) {
      throw new BorderError("another host key", { border: "ssh", kind: "permanent", code: "host-key" });
    }
    this.open += 1;
    return {
      target,
      alive: true,
      exec: async (command: string) => {
        this.commands.push(command);
        this.onExec(command);
        return this.nextExec;
      },
      start: async () => {
        throw new Error("not by this fake");
      },
      onClose: () => {},
      close: () => {
        this.open -= 1;
      },
    };
  }
  reset(): void {
    this.targets.length = 0;
    this.commands.length = 0;
    this.open = 0;
    this.nextError = null;
    this.hostKey = null;
    this.onExec = () => {};
  }
}

const attested: HandOverResult = {
  ms: 12,
  attestation: {
    newTokenAccepted: true,
    oldTokenRefused: true,
    unitActive: true,
    tailnetAddress: "100.64.0.7",
    tailnetNode: "node-7",
    way: "reload",
  },
};

export class FakeArmed extends Fallible implements ArmedMachines {
  readonly ensured: { name: string; target: SshTarget }[] = [];
  readonly dropped: string[] = [];
  readonly documents: HandOverRequest[] = [];
  installed: Installed | null = null;
  gateway = true;
  /** Thrown by the next documents, in this order; null lets one through. */
  runErrors: (Error | null)[] = [];
  nextAttestation: Partial<HandOverResult["attestation"]> = {};
  readonly inspected: string[] = [];
  nextHealth: Partial<HealthReply> = {};
  /** What the answer of this machine waits for; null for nothing. */
  hangs: (name: string) => Promise<void> | null = () => null;
  /** What happens while the document is on its way. */
  onRun: () => void = () => {};

  async ensure(name: MachineName, target: SshTarget): Promise<ArmedMachine> {
    this.ensured.push({ name, target });
    this.fail();
    return {
      alive: true,
      programVersion: "1",
      installed: this.installed,
      gateway: this.gateway,
      run: async (request, onStep) => {
        this.documents.push(request);
        await this.hangs(name);
        const error = this.runErrors.shift();
        this.onRun();
        if (error) throw error;
        onStep?.({ step: "env", ms: 3 });
        return { ...attested, attestation: { ...attested.attestation, ...this.nextAttestation } };
      },
      inspect: async ({ op }) => {
        this.inspected.push(op);
        return {
          type: "health",
          unit: "active",
          gateway: true,
          tailnet: "Running",
          version: "1",
          ...this.nextHealth,
        };
      },
      close: () => {},
      onLost: () => {},
    };
  }
  isArmed(): boolean {
    return true;
  }
  drop(name: MachineName): void {
    this.dropped.push(name);
  }
  close(): void {}
  reset(): void {
    this.ensured.length = 0;
    this.installed = null;
    this.gateway = true;
    this.dropped.length = 0;
    this.documents.length = 0;
    this.runErrors = [];
    this.nextAttestation = {};
    this.nextError = null;
    this.onRun = () => {};
  }
}

export class FakeTailnet extends Fallible implements Tailnet {
  readonly minted: Parameters<Tailnet["mintKey"]>[0][] = [];
  readonly revoked: string[] = [];
  readonly deleted: string[] = [];
  readonly known = new Map<string, TailnetDevice>();
  /** Thrown by each call until it is taken away. */
  down: Error | null = null;

  protected override fail(): void {
    if (this.down) throw this.down;
    super.fail();
  }
  async mintKey(options: Parameters<Tailnet["mintKey"]>[0]) {
    this.minted.push(options);
    this.fail();
    const id = `key-${this.minted.length}`;
    return { id, key: new Secret(`tskey-auth-${id}`), expiresAt: 0 };
  }
  readonly listedKeys: AuthKeyShown[] = [];
  async authKeys() {
    this.fail();
    return [...this.listedKeys];
  }
  async revokeKey(id: string) {
    this.revoked.push(id);
  }
  async device(nodeId: string) {
    this.fail();
    return this.known.get(nodeId) ?? null;
  }
  async devices() {
    this.fail();
    return [...this.known.values()];
  }
  async deleteDevice(nodeId: string) {
    this.fail();
    this.deleted.push(nodeId);
    this.known.delete(nodeId);
  }
  reset(): void {
    this.minted.length = 0;
    this.revoked.length = 0;
    this.deleted.length = 0;
    this.known.clear();
    this.nextError = null;
  }
}

export class FakeKeys extends Fallible implements KeyStock {
  taken = 0;
  async take() {
    this.fail();
    this.taken += 1;
    return { id: `stock-${this.taken}`, key: new Secret(`tskey-auth-stock-${this.taken}`), expiresAt: 0 };
  }
  async replenish() {}
  async close() {}
}

export interface Life {
  readonly clock: VirtualClock;
  readonly store: Store;
  readonly cloud: FakeCloud;
  readonly gate: FakeGate;
  readonly terraform: FakeTerraform;
  readonly ansible: FakeAnsible;
  readonly ssh: FakeSsh;
  readonly armed: FakeArmed;
  readonly tailnet: FakeTailnet;
  readonly keys: FakeKeys;
  config: Config;
  /** Stripe's word, for each order. */
  confirmation: (order: OrderId) => Promise<"agreed" | "disagreed">;
  hasEnded: StageContext["hasEnded"];
  cancelSuspended: StageContext["cancelSuspended"];
  /** Machines that a look at another one wanted looked at. */
  readonly poked: MachineName[];
  /** Why nothing is bought for now. */
  platformWaits: string | null;
  readonly context: StageContext;
}

/** The example's configuration; its pool is called `small` as in tests/store/rows.ts. */
export function exampleConfig(): Config {
  const config = parseConfig(example, "clawpool.yaml", env);
  return { ...config, pools: config.pools.map((pool) => ({ ...pool, name: "small" })) };
}

/** A context of stages on fakes, a real store in memory and a clock that stands still. */
export function startLife(): Life {
  const clock = new VirtualClock();
  const store = openSqliteStore({ file: ":memory:", sealer: createSealer([newSealingKey()]), clock });
  const borders = {
    clock,
    store,
    cloud: new FakeCloud(),
    gate: new FakeGate(),
    terraform: new FakeTerraform(),
    ansible: new FakeAnsible(),
    ssh: new FakeSsh(),
    armed: new FakeArmed(),
    tailnet: new FakeTailnet(),
    keys: new FakeKeys(),
  };
  const life: Life = {
    ...borders,
    config: exampleConfig(),
    confirmation: async () => "agreed",
    hasEnded: async () => true,
    cancelSuspended: async () => {},
    poked: [],
    platformWaits: null,
    context: {
      ...borders,
      random: systemRandom,
      config: () => life.config,
      platform: () => platformIds,
      platformWaits: () => life.platformWaits,
      confirmation: (order) => life.confirmation(order),
      hasEnded: (order) => life.hasEnded(order),
      cancelSuspended: (order) => life.cancelSuspended(order),
      calledOff: () => null,
      poke: (machine) => life.poked.push(machine),
      log: pino({ level: "silent" }),
    },
  };
  return life;
}

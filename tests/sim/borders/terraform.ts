/**
 * terraform as processes of the world: they go on when the daemon that started them is dead, and keep their state in
 * folders. What they do with a state, a taint and a lost gate is what the real one does (docs/terraform.md): the file is
 * made empty when the first run takes the lock, and filled when a resource is done, so that a process which is killed
 * before that leaves a server that no state knows.
 */
import { BorderError } from "../../../pool/errors.ts";
import { canonicalJson } from "../../../pool/store/audit-chain.ts";
import type {
  MachineStackInput,
  RunResult,
  StackFolder,
  StateSummary,
  Terraform,
} from "../../../pool/terraform/terraform.ts";
import { emptyFile, type SimState, type World } from "../world.ts";
import { GateGone, type SimGate } from "./gate.ts";
import type { ServerBody } from "./hetzner.ts";

const content = ({ serverId, lineage }: SimState): StackFolder["content"] => {
  if (serverId !== null) return "resources";
  return lineage === "" ? "cut-off" : "nothing";
};

export const platformIds = { sshKey: 1, firewall: 2, network: 3, placementGroups: [4, 5, 6, 7] };
export const platformResources = [
  { kind: "ssh_key", id: platformIds.sshKey } as const,
  { kind: "firewall", id: platformIds.firewall } as const,
  { kind: "network", id: platformIds.network } as const,
  ...platformIds.placementGroups.map((id) => ({ kind: "placement_group", id }) as const),
];
/** In a state that was copied here from another installation. */
export const anothers = "another's";

/** Ends the run with terraform's own words. */
class Diagnostic extends Error {}
/** The kernel kills the process, e.g. because memory is short: nothing of this run is saved. */
class KilledByKernel extends Error {}

/** What a run works on, saved at its end. */
interface Draft {
  serverId: number | null;
  tainted: boolean;
  shared: string | null;
}

/** With the subnet. */
const platformSize = platformResources.length + 1;
const resourcesIn = ({ serverId, shared }: SimState): number =>
  shared === null ? Number(serverId !== null) : platformSize;

export function simulatedTerraform(world: World, gate: SimGate): Terraform {
  async function untilFree(name: string): Promise<void> {
    while (world.processes.has(name)) await world.processes.get(name);
  }

  function save(name: string, before: SimState, draft: Draft): void {
    const { serverId, tainted, shared } = before;
    const isSame = serverId === draft.serverId && tainted === draft.tainted && shared === draft.shared;
    if (isSame) return;
    const lineage = before.lineage || `lineage-${world.id()}`;
    world.states.set(name, { lineage, serial: before.serial + 1, ...draft });
    if (before === emptyFile) return;
    const old = world.oldStates.get(name) ?? [];
    world.oldStates.set(name, [...old, before]);
  }

  /** One process in a folder at a time; the folder's lock makes the second wait. */
  async function process(name: string, work: (draft: Draft) => Promise<void>): Promise<RunResult> {
    // No await behind the last look: two that begin at once would both see the folder free.
    while (world.processes.has(name)) await world.processes.get(name);
    world.events += 1;
    const startedAt = world.clock.now();
    const running = Promise.withResolvers<void>();
    world.processes.set(name, running.promise);
    const before = world.states.get(name) ?? emptyFile;
    world.states.set(name, before);
    const draft: Draft = { serverId: before.serverId, tainted: before.tainted, shared: before.shared };
    let summary: string | null = null;
    let exitCode: number | null = 0;
    try {
      await world.takes(200, 600);
      if (world.strikes(0.01)) throw new Diagnostic("Plugin did not respond");
      await work(draft);
    } catch (error) {
      exitCode = 1;
      if (error instanceof GateGone) summary = `Get "http://gate/v1": ${error.message}`;
      else if (error instanceof Diagnostic) summary = error.message;
      else if (error instanceof KilledByKernel) exitCode = null;
      else throw error;
    } finally {
      if (exitCode === null) world.note(`terraform in ${name} is killed`);
      else save(name, before, draft);
      world.processes.delete(name);
      running.resolve();
    }
    return {
      run: `run-${world.id()}`,
      ok: exitCode === 0,
      exitCode,
      changes: [],
      errors: summary === null ? [] : [{ summary, detail: "", address: "hcloud_server.server" }],
      logFile: "",
      startedAt,
      endedAt: world.clock.now(),
    };
  }

  const mayBeKilled = (): void => {
    if (world.strikes(0.006)) throw new KilledByKernel();
  };
  const refuse = (body: string): never => {
    const { error } = JSON.parse(body) as { error: { code: string; message: string } };
    throw new Diagnostic(`${error.message} (${error.code})`);
  };

  /** As any plan begins: what is gone is dropped. @returns the server's labels, as canonical JSON */
  async function refresh(draft: Draft, token: string): Promise<string | null> {
    if (draft.serverId === null) return null;
    const path = `/servers/${draft.serverId}`;
    const reply = await gate.ask(token, { kind: "read-server", id: draft.serverId, path }, "");
    if (reply.status === 404) Object.assign(draft, { serverId: null, tainted: false });
    else if (reply.status !== 200) refuse(reply.body);
    return reply.status === 200 ? canonicalJson(JSON.parse(reply.body).server.labels) : null;
  }

  async function buy(draft: Draft, input: MachineStackInput, token: string): Promise<void> {
    const body: ServerBody = {
      name: input.name,
      server_type: input.serverType,
      location: input.location,
      labels: input.labels,
      user_data: input.userData,
    };
    const order = { name: input.name, labels: { ...input.labels } };
    mayBeKilled();
    const reply = await gate.ask(token, { kind: "create-server", order }, JSON.stringify(body));
    if (reply.status !== 201) return refuse(reply.body);
    mayBeKilled();
    draft.serverId = (JSON.parse(reply.body) as { server: { id: number } }).server.id;
    // Tainted until its actions are done: a poll that nobody answers leaves it so.
    draft.tainted = true;
    await world.takes(12_000, 20_000);
    mayBeKilled();
    const path = `/servers/${draft.serverId}`;
    const made = await gate.ask(token, { kind: "read-server", id: draft.serverId, path }, "");
    if (made.status !== 200) return refuse(made.body);
    draft.tainted = false;
  }

  async function drop(draft: Draft, token: string): Promise<void> {
    if (draft.serverId === null) return;
    const id = draft.serverId;
    const reply = await gate.ask(token, { kind: "delete-server", id }, "");
    if (reply.status !== 200) return refuse(reply.body);
    while (world.servers.has(id)) await world.clock.delay(1_000);
    mayBeKilled();
    Object.assign(draft, { serverId: null, tainted: false });
  }

  return {
    async applyMachine(input, access, { guard } = {}) {
      const token = access.token.expose();
      return process(input.name, async (draft) => {
        const labels = await refresh(draft, token);
        if (guard !== undefined && (draft.tainted || draft.serverId !== guard)) {
          throw new BorderError("the plan would replace the server", {
            border: "terraform",
            kind: "permanent",
            code: "plan-refused",
          });
        }
        if (draft.tainted) await drop(draft, token);
        if (draft.serverId === null) return buy(draft, input, token);
        if (canonicalJson(input.labels) === labels) return;
        const body = JSON.stringify({ labels: input.labels });
        const reply = await gate.ask(token, { kind: "update-server", id: draft.serverId, name: null }, body);
        if (reply.status !== 200) refuse(reply.body);
      });
    },
    async destroyMachine(name, access) {
      const token = access.token.expose();
      return process(name, async (draft) => {
        await refresh(draft, token);
        await drop(draft, token);
      });
    },
    untaintServer: (name) =>
      process(name, async (draft) => {
        draft.tainted = false;
      }),
    async importServer({ name }, serverId, access) {
      const token = access.token.expose();
      return process(name, async (draft) => {
        if (draft.serverId !== null) throw new Diagnostic("Resource already managed by Terraform");
        draft.serverId = serverId;
        await refresh(draft, token);
        if (draft.serverId === null) throw new Diagnostic("Cannot import non-existent remote object");
      });
    },
    async applyPlatform(input) {
      const result = await process("platform", async (draft) => {
        if (draft.shared === null && ++world.platforms > 1)
          world.violate("I3", "the platform is made a second time, over a state that lost the first");
        if (draft.shared === anothers) world.violate("I9", "another installation's platform is changed");
        draft.shared = canonicalJson(input);
      });
      if (!result.ok) {
        throw new BorderError("the platform was not applied", { border: "terraform", kind: "transient" });
      }
      return { result, ids: platformIds };
    },
    importPlatform: () =>
      process("platform", async (draft) => {
        if (draft.shared !== null) throw new Diagnostic("Resource already managed by Terraform");
        draft.shared = "imported";
      }),
    async state(name): Promise<StateSummary | null> {
      await untilFree(name);
      const state = world.states.get(name);
      if (!state) return null;
      const shared = state.shared === null ? [] : platformResources;
      return {
        ...state,
        resources: resourcesIn(state),
        shared,
        empty: state === emptyFile,
        text: JSON.stringify(state),
      };
    },
    stateFile: (name) => `/terraform/machines/${name}/terraform.tfstate`,
    async replaceState(name, text) {
      await untilFree(name);
      if (text === null) world.states.delete(name);
      else world.states.set(name, JSON.parse(text) as SimState);
    },
    folders: async () => [...world.states.keys()].filter((name) => name !== "platform"),
    platform: async () =>
      (world.states.get("platform")?.shared ?? null) !== null
        ? { ids: platformIds, controllerPublicKey: "ssh-ed25519 AAAA" }
        : null,
    async forget(name) {
      await untilFree(name);
      if ((world.states.get(name)?.serverId ?? null) !== null) {
        const code = "state-not-empty";
        throw new BorderError(`${name}'s state has a server`, {
          border: "terraform",
          kind: "permanent",
          code,
        });
      }
      world.states.delete(name);
    },
    async survey() {
      return [...world.states]
        .map(([name, state]) => ({
          name,
          content: content(state),
          resources: state.serverId === null ? 0 : 1,
          isRunning: world.processes.has(name),
          changedAt: world.strays.get(`folder ${name}`) ?? world.clock.now(),
        }))
        .filter(({ name }) => name !== "platform");
    },
    async archive(name) {
      world.states.delete(name);
      world.note(`folder ${name} is put away`);
      return `/terraform/archive/${name}`;
    },
    async leftovers() {
      return [...world.processes].map(([name, ended]) => ({ name, ended }));
    },
  };
}

/**
 * terraform as processes of the world: they go on when the daemon that started them is dead, and keep their state in
 * folders. What they do with a state, a taint and a lost gate is what the real one does (docs/terraform.md).
 */
import { BorderError } from "../../../pool/errors.ts";
import type {
  MachineStackInput,
  RunResult,
  StateSummary,
  Terraform,
} from "../../../pool/terraform/terraform.ts";
import type { SimState, World } from "../world.ts";
import { GateGone, type SimGate } from "./gate.ts";
import type { ServerBody } from "./hetzner.ts";

const platformIds = { sshKey: 1, firewall: 2, network: 3, placementGroups: [4, 5, 6, 7] };

/** Ends the run with terraform's own words. */
class Diagnostic extends Error {}

export function simulatedTerraform(world: World, gate: SimGate): Terraform {
  /** One process in a folder at a time; the folder's lock makes the second wait. */
  async function process(name: string, work: (state: SimState) => Promise<void>): Promise<RunResult> {
    while (world.processes.has(name)) await world.processes.get(name);
    world.events += 1;
    const startedAt = world.clock.now();
    const running = Promise.withResolvers<void>();
    world.processes.set(name, running.promise);
    const state = world.states.get(name) ?? { serverId: null, tainted: false, serial: 0 };
    world.states.set(name, state);
    let summary: string | null = null;
    try {
      await world.takes(200, 600);
      if (world.strikes(0.01)) throw new Diagnostic("Plugin did not respond");
      await work(state);
    } catch (error) {
      if (error instanceof GateGone) summary = `Get "http://gate/v1": ${error.message}`;
      else if (error instanceof Diagnostic) summary = error.message;
      else throw error;
    } finally {
      state.serial += 1;
      world.processes.delete(name);
      running.resolve();
    }
    return {
      run: `run-${world.id()}`,
      ok: summary === null,
      exitCode: summary === null ? 0 : 1,
      changes: [],
      errors: summary === null ? [] : [{ summary, detail: "", address: "hcloud_server.server" }],
      logFile: "",
      startedAt,
      endedAt: world.clock.now(),
    };
  }

  const refuse = (body: string): never => {
    const { error } = JSON.parse(body) as { error: { code: string; message: string } };
    throw new Diagnostic(`${error.message} (${error.code})`);
  };

  /** As any plan begins: what is gone is dropped. */
  async function refresh(state: SimState, token: string): Promise<void> {
    if (state.serverId === null) return;
    const path = `/servers/${state.serverId}`;
    const reply = await gate.ask(token, { kind: "read-server", id: state.serverId, path }, "");
    if (reply.status === 404) Object.assign(state, { serverId: null, tainted: false });
    else if (reply.status !== 200) refuse(reply.body);
  }

  async function buy(state: SimState, input: MachineStackInput, token: string): Promise<void> {
    const body: ServerBody = {
      name: input.name,
      server_type: input.serverType,
      location: input.location,
      labels: input.labels,
      user_data: input.userData,
    };
    const order = { name: input.name, labels: { ...input.labels } };
    const reply = await gate.ask(token, { kind: "create-server", order }, JSON.stringify(body));
    if (reply.status !== 201) return refuse(reply.body);
    state.serverId = (JSON.parse(reply.body) as { server: { id: number } }).server.id;
    // Tainted until its actions are done: a poll that nobody answers leaves it so.
    state.tainted = true;
    await world.takes(12_000, 20_000);
    const path = `/servers/${state.serverId}`;
    const made = await gate.ask(token, { kind: "read-server", id: state.serverId, path }, "");
    if (made.status !== 200) return refuse(made.body);
    state.tainted = false;
  }

  async function drop(state: SimState, token: string): Promise<void> {
    if (state.serverId === null) return;
    const id = state.serverId;
    const reply = await gate.ask(token, { kind: "delete-server", id }, "");
    if (reply.status !== 200) return refuse(reply.body);
    while (world.servers.has(id)) await world.clock.delay(1_000);
    Object.assign(state, { serverId: null, tainted: false });
  }

  return {
    async applyMachine(input, access, { guard = false } = {}) {
      const token = access.token.expose();
      return process(input.name, async (state) => {
        await refresh(state, token);
        if (guard && (state.tainted || state.serverId === null)) {
          throw new BorderError("the plan would replace the server", {
            border: "terraform",
            kind: "permanent",
            code: "plan-refused",
          });
        }
        if (state.tainted) await drop(state, token);
        if (state.serverId === null) return buy(state, input, token);
        const body = JSON.stringify({ labels: input.labels });
        const reply = await gate.ask(token, { kind: "update-server", id: state.serverId, name: null }, body);
        if (reply.status !== 200) refuse(reply.body);
      });
    },
    async destroyMachine(name, access) {
      const token = access.token.expose();
      return process(name, async (state) => {
        await refresh(state, token);
        await drop(state, token);
      });
    },
    untaintServer: (name) =>
      process(name, async (state) => {
        state.tainted = false;
      }),
    async applyPlatform() {
      const result = await process("platform", async () => {});
      if (!result.ok) {
        throw new BorderError("the platform was not applied", { border: "terraform", kind: "transient" });
      }
      return { result, ids: platformIds };
    },
    async state(name): Promise<StateSummary | null> {
      const state = world.states.get(name);
      if (!state) return null;
      return {
        ...state,
        lineage: name,
        resources: state.serverId === null ? 0 : 1,
        empty: false,
      };
    },
    async forget(name) {
      world.states.delete(name);
    },
    async leftovers() {
      return [...world.processes].map(([name, ended]) => ({ name, ended }));
    },
  };
}

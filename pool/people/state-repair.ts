/**
 * What a person does about a terraform state that the daemon refuses to work on: look at all of them, write back what
 * the last run left, or make a new one from the server. Under the same lock as people's `cdktf`.
 */
import type { Loop } from "../loop.ts";
import { importServer } from "../machine/create.ts";
import type { Machine, MachineName } from "../machine/machine.ts";
import type { StageContext } from "../machine/stage.ts";
import { judgeState, readState, refusal, usableState } from "../machine/state.ts";
import { StateRepairError, type StateReport } from "../machine/state-report.ts";
import type { Platform } from "../platform/platform.ts";
import type { Cause } from "../store/store.ts";
import { platformName } from "../terraform/folders.ts";
import { BusyError } from "./people.ts";

export interface StateRepair {
  /** Every live machine's state file and, last, the platform's, compared. @throws BorderError when the cloud cannot be asked */
  look(): Promise<StateReport[]>;
  /**
   * @throws StateRepairError, BusyError, and BorderError from terraform or the cloud; the file that was there is among the
   *   stack's run logs then as after a success
   */
  repair(name: string, how: "restore" | "import", cause: Cause & { readonly actor: string }): Promise<void>;
}

export function createStateRepair(options: {
  context: StageContext;
  loop: Loop;
  platform: Pick<Platform, "look" | "repair">;
}): StateRepair {
  const { context, loop, platform } = options;
  const { store, terraform, cloud } = context;

  function restore(machine: Machine): Promise<void> {
    const { name, serverId } = machine;
    const known = store.terraformState(name);
    if (known === null)
      throw new StateRepairError(
        `no run has left a state of ${name}; \`clawpool state import ${name}\` makes one from its server`,
      );
    if (known.resources > 0 && known.serverId !== serverId) {
      throw new StateRepairError(
        `what is remembered of ${name}'s state is about server ${known.serverId}, and its server is ${serverId}`,
      );
    }
    return terraform.replaceState(name, known.document);
  }

  async function importAnew(machine: Machine, actor: string): Promise<void> {
    const { name, serverId } = machine;
    const server = serverId === null ? null : await cloud.server(serverId);
    if (server === null) throw new StateRepairError(`${name} has no server that could be imported`);
    if (server.name !== name)
      throw new StateRepairError(`server ${server.id} is named ${server.name}, not ${name}`);
    await terraform.replaceState(name, null);
    // Until the import has ended the state is one that never knew the server; the daemon itself would go on from there.
    store.rememberState(name, null);
    await importServer(machine, server.id, "a person wants its state made anew", context, actor);
  }

  return {
    look: () =>
      Promise.all([
        ...store.machines({ live: true }).map(async (machine) => {
          const verdict = await judgeState(machine, await readState(machine, context), context);
          const known = store.terraformState(machine.name);
          return {
            machine: machine.name,
            file: terraform.stateFile(machine.name),
            refused: verdict.is === "refused" ? refusal(machine, verdict, context) : null,
            serverId: machine.serverId,
            known: known && { serial: known.serial, resources: known.resources, at: known.at },
          };
        }),
        platform.look(),
      ]),

    async repair(name, how, { actor, run }) {
      if (name === platformName) return platform.repair(how, { actor, run });
      const machine = store.machines({ live: true }).find((candidate) => candidate.name === name);
      if (!machine) throw new StateRepairError(`no live machine is named ${name}; see \`clawpool machines\``);
      const release = loop.hold(name as MachineName);
      if (!release) throw new BusyError(`${name} is worked on now (${machine.state}); try again in a moment`);
      try {
        if (how === "restore") await restore(machine);
        else await importAnew(machine, actor);
        store.audit(actor, `terraform.state-${how === "restore" ? "restored" : "imported"}`, name, {
          why: "a person's command",
          run: run ?? null,
        });
        await usableState(machine, context);
      } finally {
        release();
      }
    },
  };
}

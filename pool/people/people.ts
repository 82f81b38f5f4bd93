/**
 * People's `cdktf diff|deploy|destroy` while the daemon runs: one lock a machine (the daemon waits for the person, the
 * person is told when the daemon works on it), and a token of the gate, so that the same rules hold for both.
 */
import { randomUUID } from "node:crypto";
import type { Gate, GateRun } from "../cloud/cloud.ts";
import type { Loop } from "../loop.ts";
import { stackInput } from "../machine/create.ts";
import type { MachineName } from "../machine/machine.ts";
import type { StageContext } from "../machine/stage.ts";
import type { Platform } from "../platform/platform.ts";
import type { Cause } from "../store/store.ts";
import { platformName } from "../terraform/folders.ts";
import type { StackInputs } from "../terraform/stack-inputs.ts";

export interface PeopleRequest {
  readonly command: string;
  /** Stack names; empty means none is locked (`list`, `synth`). */
  readonly stacks: readonly string[];
  readonly actor: string;
}

export interface PeopleGrant {
  readonly id: string;
  readonly endpoint: string;
  readonly token: string;
  readonly stacks: StackInputs;
}

/** The daemon or somebody else works on the machine; the sentence says who. */
export class BusyError extends Error {
  override readonly name = "BusyError";
}

export interface People {
  /** @throws BusyError; Error when a stack is unknown. */
  begin(request: PeopleRequest): PeopleGrant;
  /** Looks at what the person left behind. Unknown ids are ignored: the daemon was restarted meanwhile. */
  end(id: string, exitCode: number | null): void;
  holds(name: string): boolean;
  close(): void;
}

const writing = ["deploy", "apply", "destroy"];

export function createPeople(options: {
  context: StageContext;
  gate: Gate;
  loop: Loop;
  platform: Platform;
  /** The `root` of the daemon's terraform folders. */
  terraformRoot: string;
}): People {
  const { context, gate, loop, platform } = options;
  const { store, log } = context;
  const grants = new Map<
    string,
    { run: GateRun; names: MachineName[]; release: () => void; actor: string; wrote: boolean }
  >();
  const held = new Map<string, string>();
  // What an earlier daemon's people held: their tokens died with it.
  for (const { name } of store.machines({ live: true })) withhold(name, false, {});

  /** A payment that comes now must not get a machine which a person may be about to destroy. */
  function withhold(name: MachineName, withheld: boolean, cause: Cause): void {
    const machine = store.machine(name);
    if (!machine || machine.withheld === withheld || machine.state === "destroyed") return;
    store.changeMachine(
      name,
      machine.state,
      { withheld },
      withheld ? "a person holds it" : "nobody holds it",
      cause,
    );
  }

  function hold(names: readonly MachineName[], cause: Cause & { readonly actor: string }): () => void {
    const undos: (() => void)[] = [];
    const undo = () => {
      for (const each of undos.splice(0)) each();
    };
    for (const name of names) {
      const release = loop.hold(name);
      if (!release) {
        undo();
        for (const each of names) if (!held.has(each)) withhold(each, false, cause);
        const who = held.get(name) ?? "the daemon";
        const state = store.machine(name)?.state;
        throw new BusyError(`${who} works on ${name} now (${state}); try again when it has finished`);
      }
      held.set(name, cause.actor);
      withhold(name, true, cause);
      undos.push(() => {
        held.delete(name);
        release();
      });
    }
    return undo;
  }

  function grant({ command, stacks, actor }: PeopleRequest): PeopleGrant {
    const id = randomUUID();
    const live = store.machines({ live: true });
    const names = live.filter((machine) => stacks.includes(machine.name)).map((machine) => machine.name);
    const unknown = stacks.filter((stack) => stack !== platformName && !names.includes(stack as MachineName));
    if (unknown.length > 0)
      throw new Error(`no live machine is named ${unknown.join(", ")}; see \`clawpool machines\``);
    // Terraform takes the firewall off every server before it deletes it, and the network away.
    if (command === "destroy" && stacks.includes(platformName) && live.length > 0)
      throw new Error(
        `${live.length} machines live on what the platform holds; destroy them first: see \`clawpool machines\``,
      );
    const mayWrite = writing.includes(command);
    const release = mayWrite ? hold(names, { actor, run: id }) : () => {};
    const run = gate.openRun({
      kind: "people",
      actor,
      machines: names,
      platform: stacks.includes(platformName),
      update: mayWrite,
      destroy: command === "destroy",
      priority: "person",
    });
    grants.set(id, { run, names, release, actor, wrote: mayWrite });
    const why = mayWrite ? "a person's command" : "a person looks";
    store.audit(actor, `people.${command}`, stacks.join(" ") || "-", { why, run: id });
    return {
      id,
      endpoint: run.endpoint,
      token: run.token.expose(),
      stacks: {
        platform: platform.inputs(),
        machines: live
          .filter((machine) => machine.serverId !== null)
          .map((machine) => stackInput(machine, context)),
        stateDir: options.terraformRoot,
      },
    };
  }

  return {
    begin(request) {
      try {
        return grant(request);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        const { command, stacks, actor } = request;
        store.audit(actor, "people.refused", stacks.join(" ") || "-", { why, command });
        throw error;
      }
    },

    end(id, exitCode) {
      const grant = grants.get(id);
      if (!grant) return;
      grants.delete(id);
      grant.run.close();
      grant.release();
      store.audit(grant.actor, "people.end", grant.names.join(" ") || "-", {
        why: exitCode === null ? "cut off" : "the command ended",
        run: id,
        exitCode,
        calls: grant.run.counts(),
      });
      if (!grant.wrote) return;
      for (const name of grant.names) void lookAfter(name, { actor: grant.actor, run: id }, exitCode === 0);
    },

    holds: (name) => held.has(name),
    close() {
      for (const id of [...grants.keys()]) this.end(id, null);
    },
  };

  /** A person may have destroyed the server; the row has to follow at once, not at the next sweep. */
  async function lookAfter(
    name: MachineName,
    cause: Cause & { readonly actor: string },
    ok: boolean,
  ): Promise<void> {
    const { actor, run } = cause;
    const machine = store.machine(name);
    try {
      if (!machine || machine.serverId === null || machine.state === "destroyed") return;
      if ((await context.cloud.server(machine.serverId)) !== null) {
        if (ok || machine.state !== "serving" || !machine.labelled) return;
        // A destroy that the gate refused has dropped the stack's outputs from the state; the labels' guarded apply
        // writes them again.
        const why = `${actor}'s command failed: apply again`;
        store.changeMachine(name, "serving", { labelled: false }, why, { run });
        return loop.poke(name);
      }
      const reason = `destroyed by ${actor}`;
      const now = store.machine(name);
      if (!now || now.order !== null || ["retiring", "releasing", "destroyed"].includes(now.state))
        return loop.poke(name);
      store.changeMachine(name, now.state, { state: "retiring", deadline: null, reason }, reason, { run });
      loop.poke(name);
    } catch (error) {
      log.warn({ machine: name, err: error }, "could not look after a person's command; the sweep will");
    } finally {
      // Only now: a server that is gone must not be claimed between the end of the command and this look.
      if (!held.has(name)) withhold(name, false, cause);
    }
  }
}

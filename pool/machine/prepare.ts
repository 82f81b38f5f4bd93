/** preparing → proving: ansible-playbook runs the role and our own tasks. A failed preparation never enters the pool. */
import { BorderError } from "../errors.ts";
import { auditedRun } from "../observe/audited-run.ts";
import { Secret } from "../secrets/secret.ts";
import { publicKeyOf } from "../ssh/keys.ts";
import { target } from "./boot.ts";
import { atOnce, type Stage } from "./stage.ts";
import { controllerUser } from "./user-data.ts";

export const prepare: Stage = async (machine, context, signal) => {
  const { ansible, store, clock, config } = context;
  const secrets = store.machineSecrets(machine.name);
  const timeoutMs = Math.max(1, (machine.deadline ?? clock.now()) - clock.now());
  const account = { action: "ansible.prepare", subject: machine.name, why: "the machine has booted" };
  const play = {
    machine: machine.name,
    ...target(machine, context, controllerUser),
    vars: {
      clawpool_controller_key: publicKeyOf(secrets.controllerKey),
    },
    secretVars: { clawpool_pool_token: new Secret(secrets.poolToken) },
    timeoutMs,
  };
  const result = await auditedRun(
    store,
    account,
    () => ansible.prepare(play, signal),
    ({ run, ok, seconds, failure }) => ({ run, ok, seconds, failure }),
  );
  if (!result.ok) {
    const text = `preparation failed at "${result.failure?.task}": ${result.failure?.message}`;
    const kind = result.failure?.kind ?? "permanent";
    const log = result.tasks.map(
      ({ name, status, seconds }) => `${status} ${name} (${seconds.toFixed(1)} s)`,
    );
    throw new BorderError(text, {
      border: "ansible",
      kind,
      code: "task-failed",
      run: result.run,
      log: [...log.slice(-10), text].join("\n"),
    });
  }
  store.changeMachine(
    machine.name,
    "preparing",
    {
      state: "proving",
      installed: result.installed,
      deadline: clock.now() + config().deadlines.provingMs,
    },
    "prepared",
  );
  return atOnce;
};

/** preparing → proving: ansible-playbook runs the role and our own tasks. A failed preparation never enters the pool. */
import { BorderError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";
import { publicKeyOf } from "../ssh/keys.ts";
import { target } from "./boot.ts";
import { atOnce, type Stage } from "./stage.ts";
import { controllerUser } from "./user-data.ts";

export const prepare: Stage = async (machine, context, signal) => {
  const { ansible, store, clock, config } = context;
  const secrets = store.machineSecrets(machine.name);
  const timeoutMs = Math.max(1, (machine.deadline ?? clock.now()) - clock.now());
  const result = await ansible.prepare(
    {
      machine: machine.name,
      ...target(machine, context, controllerUser),
      vars: {
        clawpool_controller_key: publicKeyOf(secrets.controllerKey),
      },
      secretVars: { clawpool_pool_token: new Secret(secrets.poolToken) },
      timeoutMs,
    },
    signal,
  );
  store.audit("daemon", "ansible.prepare", machine.name, {
    run: result.run,
    ok: result.ok,
    seconds: result.seconds,
    failure: result.failure,
  });
  if (!result.ok) {
    const text = `preparation failed at "${result.failure?.task}": ${result.failure?.message}`;
    const kind = result.failure?.kind ?? "permanent";
    throw new BorderError(text, { border: "ansible", kind, code: "task-failed" });
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

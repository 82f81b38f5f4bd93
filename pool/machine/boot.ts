/**
 * booting → preparing: wait for sshd with the host key that cloud-init was given, then replace that key by one born on
 * the machine and pin it. The new key is written down before the machine shows it, so that a crash at any moment leaves
 * a machine that we still believe.
 */
import { BorderError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";
import type { SshConnection, SshTarget } from "../ssh/ssh.ts";
import type { Store } from "../store/store.ts";
import { address, type Machine } from "./machine.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";
import { controllerUser, firstBoot } from "./user-data.ts";

const publicKeyLine = /^ssh-ed25519 [A-Za-z0-9+/]+={0,2}$/;
/** cloud-init's last stage runs inside this command. */
const firstBootMs = 180_000;

/** Where and as whom the controller logs in. root gets only the hand-over program (a forced command). */
export function target(
  machine: Machine,
  {
    store,
    config,
  }: { readonly store: Pick<Store, "machineSecrets">; readonly config: StageContext["config"] },
  username: string,
): SshTarget {
  if (!machine.hostKey) throw new Error(`machine ${machine.name} has no pinned host key`);
  return {
    host: address(machine),
    port: config().ssh.port,
    username,
    privateKey: new Secret(store.machineSecrets(machine.name).controllerKey),
    hostKey: machine.hostKey,
  };
}

/**
 * Nobody listens yet. Asking again soon is free of charge: sshd counts connections that do not log in (and shuts out who
 * makes too many), but it cannot count what came before it ran.
 */
const notThereYet = ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ETIMEDOUT", "timeout"];
const askAgainMs = 300;

export const boot: Stage = async (machine, context) => {
  const { store, clock, config } = context;
  const connection = await connect(machine, context).catch((error: unknown) => {
    if (error instanceof BorderError && notThereYet.includes(error.code ?? "")) return null;
    throw error;
  });
  if (!connection) return { againInMs: askAgainMs };
  try {
    const [type, key] = (await run(connection, firstBoot.make)).split(/\s+/);
    const hostKey = `${type} ${key}`;
    if (!publicKeyLine.test(hostKey)) throw firstBootError(`printed no host key: ${hostKey.slice(0, 200)}`);
    if (machine.nextHostKey !== hostKey)
      store.changeMachine(
        machine.name,
        "booting",
        { nextHostKey: hostKey },
        "its own host key, still to be shown",
      );
    await run(connection, firstBoot.install);
    store.changeMachine(
      machine.name,
      "booting",
      {
        state: "preparing",
        hostKey,
        nextHostKey: null,
        deadline: clock.now() + config().deadlines.preparingMs,
      },
      "sshd answered with the pinned key; the machine has made its own",
    );
  } finally {
    connection.close();
  }
  return atOnce;
};

/** By the pinned key, or by the one that the machine was about to take when we last heard of it. */
async function connect(machine: Machine, context: StageContext): Promise<SshConnection> {
  const { ssh } = context;
  const { nextHostKey } = machine;
  try {
    return await ssh.connect(target(machine, context, controllerUser));
  } catch (error) {
    if (!nextHostKey || !(error instanceof BorderError) || error.code !== "host-key") throw error;
    return await ssh.connect(target({ ...machine, hostKey: nextHostKey }, context, controllerUser));
  }
}

/** @throws BorderError when the command fails */
async function run(connection: SshConnection, command: string): Promise<string> {
  const { code, stdout, stderr } = await connection.exec(command, { timeoutMs: firstBootMs });
  if (code !== 0) throw firstBootError(`ended with ${code}: ${stderr.trim().slice(-200)}`);
  return stdout.trim();
}

const firstBootError = (what: string) =>
  new BorderError(`first boot ${what}`, { border: "ssh", kind: "permanent", code: "first-boot" });

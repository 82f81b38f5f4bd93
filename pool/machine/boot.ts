/**
 * booting → preparing: wait for sshd with the host key that cloud-init was given, then replace that key by one born on
 * the machine and pin it.
 *
 * Between the machine making its key and our pinning it a crash would leave a machine that we no longer believe. It is
 * then given up at its deadline and another is built: no customer waits for it, and never trusting an unknown key is
 * worth five minutes of one VM.
 */
import { BorderError } from "../errors.ts";
import { Secret } from "../secrets/secret.ts";
import type { SshTarget } from "../ssh/ssh.ts";
import { address, type Machine } from "./machine.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";
import { controllerUser, firstBootCommand } from "./user-data.ts";

const publicKeyLine = /^ssh-ed25519 [A-Za-z0-9+/]+={0,2}$/;
/** cloud-init's last stage runs inside this command. */
const firstBootMs = 180_000;

/** Where and as whom the controller logs in. root gets only the hand-over program (a forced command). */
export function target(
  machine: Machine,
  { store, config }: Pick<StageContext, "store" | "config">,
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
  const { ssh, store, clock, config } = context;
  const connection = await ssh.connect(target(machine, context, controllerUser)).catch((error: unknown) => {
    if (error instanceof BorderError && notThereYet.includes(error.code ?? "")) return null;
    throw error;
  });
  if (!connection) return { againInMs: askAgainMs };
  try {
    const made = await connection.exec(firstBootCommand, { timeoutMs: firstBootMs });
    const [type, key] = made.stdout.trim().split(/\s+/);
    const hostKey = `${type} ${key}`;
    if (made.code !== 0 || !publicKeyLine.test(hostKey)) {
      const text = `first boot ended with ${made.code}: ${made.stderr.trim().slice(-200)}`;
      throw new BorderError(text, { border: "ssh", kind: "permanent", code: "first-boot" });
    }
    store.changeMachine(
      machine.name,
      "booting",
      { state: "preparing", hostKey, deadline: clock.now() + config().deadlines.preparingMs },
      "sshd answered with the pinned key; the machine has made its own",
    );
  } finally {
    connection.close();
  }
  return atOnce;
};

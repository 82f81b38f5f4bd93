/** Health and repair of a customer's machine: one exec of the hand-over program on a connection that is kept. */
import { BorderError } from "../errors.ts";
import type { Ssh, SshConnection, SshTarget } from "../ssh/ssh.ts";
import type { HealthReply } from "./hand-over-session.ts";
import type { MachineName } from "./machine.ts";
import { encodeFrame, type MachineReply, type Question } from "./protocol.ts";

/** sshd runs the forced command; the program sees this text, and then does not open the gateway's control connection. */
const command = "clawpool-machine ask";
const healthTimeoutMs = 15_000;
/** A restart of the gateway's unit may take 120 s on the machine (ansible/files/machine/host.mjs). */
const repairTimeoutMs = 150_000;

export interface Asker {
  /** @throws BorderError of border `ssh` when the machine cannot be reached, of border `machine` when its program fails. */
  ask(name: MachineName, target: SshTarget, question: Question): Promise<HealthReply>;
  /** Closes the machine's connection. */
  drop(name: MachineName): void;
  close(): void;
}

export function createAsker(ssh: Ssh): Asker {
  const connections = new Map<MachineName, SshConnection>();

  async function connect(name: MachineName, target: SshTarget): Promise<SshConnection> {
    const kept = connections.get(name);
    if (kept?.alive) return kept;
    const made = await ssh.connect(target);
    connections.get(name)?.close();
    connections.set(name, made);
    return made;
  }
  const drop = (name: MachineName): void => {
    connections.get(name)?.close();
    connections.delete(name);
  };

  return {
    async ask(name, target, question) {
      const { op } = question;
      const isKept = connections.get(name)?.alive === true;
      const timeoutMs = op === "health" ? healthTimeoutMs : repairTimeoutMs;
      try {
        const connection = await connect(name, target);
        const { stdout } = await connection.exec(command, { stdin: encodeFrame(question), timeoutMs });
        return parseReply(stdout, name);
      } catch (error) {
        if (!(error instanceof BorderError) || error.border !== "ssh") throw error;
        drop(name);
        // A connection of a minute ago may be dead without anybody's fault; only a new one says something of the machine.
        if (isKept && op === "health" && error.code !== "timeout") return this.ask(name, target, question);
        throw error;
      }
    },
    drop,
    close() {
      for (const name of [...connections.keys()]) drop(name);
    },
  };
}

function parseReply(stdout: string, name: MachineName): HealthReply {
  const problem = (text: string) =>
    new BorderError(`the program on ${name} ${text}`, {
      border: "machine",
      kind: "transient",
      code: "health",
    });
  for (const line of stdout.split("\n").reverse()) {
    if (line.trim() === "") continue;
    let reply: MachineReply;
    try {
      reply = JSON.parse(line) as MachineReply;
    } catch {
      // The line is not told: whoever broke the protocol may have printed anything.
      throw problem("said something that is not JSON");
    }
    if (reply.type === "health") return reply;
    if (reply.type === "failed") throw problem(`failed at ${reply.step}: ${reply.reason}`);
  }
  throw problem("gave no answer");
}

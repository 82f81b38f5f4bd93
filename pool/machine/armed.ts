/**
 * The open, armed connections to warm machines. An armed machine runs the hand-over program already, holding a control
 * connection to its gateway: a claim only has to send the document. It is also the cheapest proof of liveness there is.
 */
import { type Clock, systemClock } from "../clock.ts";
import { BorderError } from "../errors.ts";
import type { Ssh, SshTarget } from "../ssh/ssh.ts";
import { type ArmedMachine, arm } from "./hand-over-session.ts";
import type { MachineName } from "./machine.ts";

export interface ArmedMachines {
  /** The armed connection of this machine, made if there is none. Concurrent calls share one attempt. */
  ensure(name: MachineName, target: SshTarget): Promise<ArmedMachine>;
  isArmed(name: MachineName): boolean;
  /** Closes the machine's connection, also one that is being made; a program takes one document, so this follows every use. */
  drop(name: MachineName): void;
  close(): void;
}

/** `onLost` hears of connections that died without being dropped. */
export function createArmedMachines(
  ssh: Ssh,
  onLost: (name: MachineName) => void,
  clock: Clock = systemClock,
): ArmedMachines {
  const machines = new Map<MachineName, ArmedMachine>();
  const attempts = new Map<MachineName, Promise<ArmedMachine>>();

  const connect = async (
    name: MachineName,
    target: SshTarget,
    isWanted: () => boolean,
  ): Promise<ArmedMachine> => {
    const machine = await arm(ssh, target, { clock });
    if (!isWanted()) {
      machine.close();
      const text = `the connection to ${name} was dropped while it was being armed`;
      throw new BorderError(text, { border: "machine", kind: "transient", code: "dropped" });
    }
    machines.set(name, machine);
    machine.onLost(() => {
      if (machines.get(name) !== machine) return;
      machines.delete(name);
      onLost(name);
    });
    return machine;
  };

  return {
    async ensure(name, target) {
      const present = machines.get(name);
      if (present?.alive) return present;
      const running = attempts.get(name);
      if (running) return running;
      const isLatest = () => attempts.get(name) === attempt;
      const attempt: Promise<ArmedMachine> = connect(name, target, isLatest).finally(() => {
        if (isLatest()) attempts.delete(name);
      });
      attempts.set(name, attempt);
      return attempt;
    },
    isArmed: (name) => machines.get(name)?.alive ?? false,
    drop(name) {
      const machine = machines.get(name);
      machines.delete(name);
      attempts.delete(name);
      machine?.close();
    },
    close() {
      for (const name of [...machines.keys(), ...attempts.keys()]) this.drop(name);
    },
  };
}

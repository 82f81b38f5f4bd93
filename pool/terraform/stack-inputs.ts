/**
 * What the CDKTF program for people (main.ts) is told: the same inputs that the daemon synthesizes from, as one JSON
 * document in the file that `CLAWPOOL_STACKS` names. It holds no token; it does hold the boot host keys inside
 * user_data, so whoever writes it makes it readable for its owner alone.
 */
import type { MachineStackInput, PlatformStackInput } from "./terraform.ts";

export interface StackInputs {
  readonly platform: PlatformStackInput;
  readonly machines: readonly MachineStackInput[];
  /** The `root` of the daemon's createTerraform: where the state files are. Absolute. */
  readonly stateDir: string;
}

/** Produces the document from the live machines: the daemon's admin API, or a reader of the store without it. */
export type ReadStackInputs = () => Promise<StackInputs>;

/** @throws when the text is not such a document; the message says what is wrong. */
export function parseStackInputs(text: string): StackInputs {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value)) throw new Error("stack inputs: not a JSON object");
  const { platform, machines, stateDir } = value;
  if (typeof stateDir !== "string" || !stateDir.startsWith("/")) {
    throw new Error(`stack inputs: stateDir must be an absolute path, not ${JSON.stringify(stateDir)}`);
  }
  if (!isRecord(platform)) throw new Error("stack inputs: no platform");
  if (!Array.isArray(machines) || !machines.every(isRecord))
    throw new Error("stack inputs: no list of machines");
  return { platform, machines, stateDir } as unknown as StackInputs;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

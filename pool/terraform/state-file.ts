/** What terraform's state file says, read without running terraform. */
import { readFile } from "node:fs/promises";
import { BorderError } from "../errors.ts";
import { stateFileOf } from "./folders.ts";
import type { PlatformIds, StateSummary } from "./terraform.ts";

interface StateDocument {
  readonly serial: number;
  readonly lineage: string;
  readonly outputs?: Readonly<Record<string, { readonly value: unknown }>>;
  readonly resources: readonly {
    readonly mode: string;
    readonly type: string;
    readonly instances: readonly {
      readonly status?: string;
      readonly attributes?: { readonly id?: string };
    }[];
  }[];
}

/**
 * The state in a stack's folder; null when there is no file. A file without content is a summary of its own
 * (`empty`): terraform makes it when it takes the lock and fills it with the first finished resource, so a run that
 * was cut off in between may have left a server that only the cloud knows.
 *
 * @throws BorderError permanent `state-unreadable` when the text is not a state
 */
export async function readState(folder: string): Promise<StateSummary | null> {
  const text = await readText(folder);
  if (text === null) return null;
  if (text === "")
    return { serverId: null, tainted: false, serial: 0, lineage: "", resources: 0, empty: true };
  const { serial, lineage, resources } = parse(folder, text);
  const managed = resources.filter(({ mode }) => mode === "managed");
  const server = managed.find(({ type }) => type === "hcloud_server")?.instances[0];
  return {
    serverId: server?.attributes?.id ? Number(server.attributes.id) : null,
    tainted: server?.status === "tainted",
    serial,
    lineage,
    resources: managed.reduce((sum, { instances }) => sum + instances.length, 0),
    empty: false,
  };
}

/** @throws BorderError permanent `no-platform` when the platform's outputs are not (all) in the state */
export async function readPlatformIds(folder: string): Promise<PlatformIds> {
  const text = await readText(folder);
  const outputs = text ? parse(folder, text).outputs : undefined;
  const number = (name: string): number => {
    const value = outputs?.[name]?.value;
    if (typeof value === "number") return value;
    throw new BorderError(`the platform's state has no ${name}`, {
      border: "terraform",
      kind: "permanent",
      code: "no-platform",
    });
  };
  const groups = outputs?.placement_group_ids?.value;
  return {
    sshKey: number("ssh_key_id"),
    firewall: number("firewall_id"),
    network: number("network_id"),
    placementGroups: Array.isArray(groups) ? groups.map(Number) : [],
  };
}

async function readText(folder: string): Promise<string | null> {
  try {
    return await readFile(stateFileOf(folder), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function parse(folder: string, text: string): StateDocument {
  try {
    const value = JSON.parse(text) as StateDocument;
    if (
      typeof value.serial === "number" &&
      typeof value.lineage === "string" &&
      Array.isArray(value.resources)
    ) {
      return value;
    }
  } catch {
    // Said below, in one way for both.
  }
  throw new BorderError(`${stateFileOf(folder)} is not a terraform state`, {
    border: "terraform",
    kind: "permanent",
    code: "state-unreadable",
  });
}

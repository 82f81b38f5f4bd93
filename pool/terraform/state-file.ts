/** What terraform's state file says, read without running terraform. */
import { mkdir, open, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import type { ResourceKind } from "../cloud/resources.ts";
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
      readonly attributes?: { readonly id?: string; readonly public_key?: string };
    }[];
  }[];
}

/** A subnet has no id of its own, and goes with its network. */
const sharedKinds = new Map<string, ResourceKind>([
  ["hcloud_ssh_key", "ssh_key"],
  ["hcloud_firewall", "firewall"],
  ["hcloud_network", "network"],
  ["hcloud_placement_group", "placement_group"],
]);

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
    return {
      serverId: null,
      tainted: false,
      serial: 0,
      lineage: "",
      resources: 0,
      shared: [],
      empty: true,
      text,
    };
  const { serial, lineage, resources } = parse(folder, text);
  const managed = resources.filter(({ mode }) => mode === "managed");
  const server = managed.find(({ type }) => type === "hcloud_server")?.instances[0];
  return {
    serverId: server?.attributes?.id ? Number(server.attributes.id) : null,
    tainted: server?.status === "tainted",
    serial,
    lineage,
    resources: managed.reduce((sum, { instances }) => sum + instances.length, 0),
    shared: managed.flatMap(({ type, instances }) => {
      const kind = sharedKinds.get(type);
      return kind ? instances.map(({ attributes }) => ({ kind, id: Number(attributes?.id) })) : [];
    }),
    empty: false,
    text,
  };
}

/** What terraform writes when it cannot write its state file (a full disk): the whole state, and the only one. */
const erroredFileOf = (folder: string): string => join(folder, "errored.tfstate");

/**
 * Puts the state that a run could not save in its place, as `terraform state push` would: only a newer one of the same
 * lineage, or the first. Any other stays where it is for a person to look at. What is cut off beside it was cut off by that
 * run: terraform writes into the file that it has.
 */
export async function adoptErrored(folder: string, now: number): Promise<void> {
  const errored = await readFile(erroredFileOf(folder), "utf8").catch(() => null);
  if (errored === null) return;
  const saved = parseIfState(folder, errored);
  if (saved === null) return;
  const text = await readText(folder);
  const before = text ? parseIfState(folder, text) : null;
  if (before && (before.lineage !== saved.lineage || before.serial >= saved.serial)) return;
  await setAside(folder, now);
  await rename(erroredFileOf(folder), stateFileOf(folder));
}

/** Moves the state file, if there is one, to the run logs, which outlive the machine. */
export async function setAside(folder: string, now: number): Promise<void> {
  const runs = join(folder, "runs");
  await mkdir(runs, { recursive: true, mode: 0o700 });
  await rename(stateFileOf(folder), join(runs, `terraform.tfstate.${now}`)).catch((error) => {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  });
}

/** Whole or not at all, and durable. */
export async function writeState(folder: string, text: string): Promise<void> {
  const draft = `${stateFileOf(folder)}.draft`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, stateFileOf(folder));
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

/** @throws BorderError permanent `no-platform` when the state has no key */
export async function readControllerPublicKey(folder: string): Promise<string> {
  const text = await readText(folder);
  const keys = text ? parse(folder, text).resources.filter(({ type }) => type === "hcloud_ssh_key") : [];
  const key = keys[0]?.instances[0]?.attributes?.public_key;
  if (key) return key;
  throw new BorderError("the platform's state has no SSH key", {
    border: "terraform",
    kind: "permanent",
    code: "no-platform",
  });
}

async function readText(folder: string): Promise<string | null> {
  try {
    return await readFile(stateFileOf(folder), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function parseIfState(folder: string, text: string): StateDocument | null {
  try {
    return parse(folder, text);
  } catch {
    return null;
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

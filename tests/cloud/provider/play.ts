/**
 * Plays a scenario with the provider of the mirror against the emulated Hetzner and tells what it did: the requests,
 * the plan and what terraform said. `scenarios.json` has the same of the real provider.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Hetzner, startHetzner } from "../hetzner/hetzner.ts";
import { nullBackend } from "../machines/null.ts";
import type { Scenario, Step } from "./scenarios.ts";
import { openTerraformFolder, type TerraformFolder, token } from "./terraform-folder.ts";
import { Witness } from "./witness.ts";

/** What one step of a scenario did; what a step has none of is left out. */
export interface Played {
  readonly step: string;
  /** `<action> <address>`, sorted. */
  readonly plan?: readonly string[];
  /** Requests in order; terraform is told to do one thing at a time. */
  readonly calls?: readonly string[];
  /** `<severity>, <address>: <summary>` and, in lines of their own, the detail. */
  readonly says?: readonly string[];
  /** Attributes that the scenario wants to know; `(status)` is `tainted`, if it is. */
  readonly state?: Readonly<Record<string, unknown>>;
}

export async function play(scenario: Scenario): Promise<Played[]> {
  const folder = await openTerraformFolder("http://127.0.0.1:1/v1");
  const stateDir = join(folder.dir, "hetzner");
  let hetzner: Hetzner | null = null;
  let witness: Witness | null = null;
  try {
    hetzner = await startHetzner({
      stateDir,
      backend: nullBackend(),
      tokens: [token],
      speed: 10_000,
      requestsPerHour: 1_000_000,
    });
    witness = new Witness(hetzner.endpoint);
    const endpoint = await witness.listen();
    const played: Played[] = [];
    const parts = { folder, hetzner, witness, endpoint, ids: new Map() };
    for (const step of scenario.steps) played.push(await take(step, parts));
    return played;
  } finally {
    await witness?.close();
    await hetzner?.close();
    await rm(stateDir, { recursive: true, force: true });
    await folder.close();
  }
}

interface Parts {
  readonly folder: TerraformFolder;
  readonly hetzner: Hetzner;
  readonly witness: Witness;
  readonly endpoint: string;
  /** Of what was forgotten, by address. */
  readonly ids: Map<string, string>;
}

async function take(step: Step, parts: Parts): Promise<Played> {
  const { folder, hetzner, witness } = parts;
  if (step.config) await folder.configure(step.config);
  for (const fault of step.faults ?? []) hetzner.faults.add(fault);
  await step.meanwhile?.(hetzner);
  witness.take();
  const said = await command(step, parts);
  hetzner.faults.clear();
  const calls = witness.take();
  if (step.anyOrder) calls.sort();
  return {
    step: step.name,
    ...said,
    ...(calls.length > 0 ? { calls } : {}),
    ...(step.state ? { state: await attributes(step.state, folder, (text) => witness.named(text)) } : {}),
  };
}

/** Terraform's own: its advice against -target, and what it says when it is interrupted. */
const terraformsOwn = new Set([
  "Resource targeting is in effect",
  "Applied changes may be incomplete",
  "execution halted",
]);

async function command(
  step: Step,
  { folder, endpoint, witness, ids }: Parts,
): Promise<Pick<Played, "plan" | "says">> {
  const [verb = "apply", ...rest] = step.does ?? [];
  const env = { HCLOUD_ENDPOINT: endpoint };
  if (verb === "forget") {
    const addresses = (await folder.run(["state", "list"])).stdout.split("\n").filter(Boolean);
    for (const address of addresses) ids.set(address, String((await instance(address, folder)).id));
    await folder.run(["state", "rm", ...addresses]);
    return {};
  }
  if (verb === "import") {
    const [address = ""] = rest;
    const args = ["import", "-input=false", address, ids.get(address) ?? ""];
    const { exitCode, stdout, stderr } = await folder.run(args, { env });
    if (exitCode !== 0) throw new Error(`terraform import: ${stdout}${stderr}`);
    return {};
  }
  const alone = verb === "plan" ? ["-parallelism=1"] : ["-parallelism=1", "-auto-approve"];
  const { diagnostics, changes } = await folder.tell([verb, ...alone, ...rest], {
    env,
    ...(step.interrupt ? { interrupt: witness.next(...step.interrupt) } : {}),
  });
  const ofProvider = diagnostics.filter(({ summary }) => !terraformsOwn.has(summary));
  const says = ofProvider.map(({ severity, address, summary, detail }) =>
    witness.named([`${severity}, ${address ?? "nowhere"}: ${summary}`, detail].filter(Boolean).join("\n")),
  );
  return {
    ...(changes.length > 0 ? { plan: changes } : {}),
    ...(says.length > 0 ? { says: says.sort() } : {}),
  };
}

/** `hcloud_server.a` */
async function instance(
  address: string,
  folder: TerraformFolder,
): Promise<Readonly<Record<string, unknown>>> {
  const [name, type] = address.split(".").reverse();
  const mode = address.startsWith("data.") ? "data" : "managed";
  const { resources } = await folder.readState();
  const found = resources.find((one) => one.mode === mode && one.type === type && one.name === name);
  const { status, attributes = {} } = found?.instances[0] ?? {};
  // What is null is left out: the schema says that it is there.
  const set = Object.entries(attributes).filter(([, value]) => value !== null);
  return Object.fromEntries([...set, ...(status ? [["(status)", status]] : [])]);
}

/** `hcloud_server.a.name` or, for all of an instance, `hcloud_server.a`. */
async function attributes(
  wanted: readonly string[],
  folder: TerraformFolder,
  named: (text: string) => string,
): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const path of wanted) {
    const [, address = "", attribute] = /^((?:data\.)?\w+\.\w+)(?:\.(.+))?$/.exec(path) ?? [];
    const all = await instance(address, folder);
    const value = attribute === undefined ? all : all[attribute];
    found[path] = settled(value ?? null, named);
  }
  return found;
}

/** The value with names for ids, and without what every emulator chooses for itself. */
function settled(value: unknown, named: (text: string) => string): unknown {
  if (typeof value === "string") {
    return named(value)
      .replace(/^198\.18\.\d+\.\d+$/, "{ipv4}")
      .replace(/^2001:db8:[0-9a-f]+:[0-9a-f]+::/, "{prefix}::")
      .replace(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, "{mac}")
      .replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/, "{time}");
  }
  if (typeof value === "number") {
    const name = named(String(value));
    return name === String(value) ? value : name;
  }
  if (Array.isArray(value)) return value.map((item) => settled(item, named));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, settled(item, named)]));
}

/**
 * `npm run bench:build [-- --n 5]`: our own overhead for building a machine: from the planned row to ready, less the
 * cloud's actions, the machine's boot and the playbook. One at a time, on real machines. Writes docs/benchmarks/build.md.
 */
import { writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Database from "better-sqlite3";
import type { MachineName } from "../../pool/machine/machine.ts";
import type { AuditRow } from "../../pool/store/store.ts";
import { onMachine } from "./handover/recycle.ts";
import { type Rig, startRig } from "./handover/rig.ts";
import { describeMachine, quantile, table } from "./handover/statistics.ts";

const { values } = parseArgs({ options: { n: { type: "string", default: "5" } } });
const n = Number(values.n);
if (!Number.isInteger(n) || n < 1) throw new Error(`--n=${values.n}: want a whole number`);

/** Milliseconds each. */
interface Build {
  readonly total: number;
  readonly cloud: number;
  readonly boot: number;
  readonly playbook: number;
  /** What is left, by part. */
  readonly ours: Readonly<Record<string, number>>;
  readonly load: number;
}

/** What the cloud did for this server until it ran: from the first action's start to the last one's end. */
function cloudTime(rig: Rig, serverId: number): number {
  const db = new Database(join(rig.cloudDir, "hetzner", "hetzner.sqlite"), { readonly: true });
  try {
    const { ms } = db
      .prepare<[number], { ms: number | null }>(
        `SELECT max(finished) - min(started) AS ms FROM action JOIN action_resource ON action_resource.action = action.id
         WHERE action_resource.type = 'server' AND action_resource.resource = ?`,
      )
      .get(serverId) ?? { ms: null };
    if (ms === null) throw new Error(`the cloud knows no action of server ${serverId}`);
    return ms;
  } finally {
    db.close();
  }
}

async function build(rig: Rig, name: MachineName, load: number): Promise<Build> {
  const rows = rig.store.auditRows({ subject: name });
  const row = (action: string): AuditRow => {
    const found = rows.find((each) => each.action === action);
    if (!found) throw new Error(`${name} has no audit row ${action}`);
    return found;
  };
  const at = (state: string) => row(`machine.${state}`).at;
  const machine = rig.store.machine(name);
  const cloud = cloudTime(rig, machine?.serverId ?? 0);
  // cloud-init's last word; the container has the host's clock.
  const booted = Number(await onMachine(rig, name, "stat -c %.Y /run/cloud-init/result.json")) * 1_000;
  const boot = Math.max(0, Math.min(booted, at("preparing")) - at("booting"));
  const playbook = Number(row("ansible.prepare").detail.seconds) * 1_000;
  const terraform = Number(row("terraform.apply").detail.ms);
  const ours = {
    "planned → terraform begins, and its result read": at("booting") - at("planned") - terraform,
    "terraform: init, plan, apply, its polls": terraform - cloud,
    "booted → host key replaced and pinned": at("preparing") - at("booting") - boot,
    "around ansible-playbook": at("proving") - at("preparing") - playbook,
    "rehearsal of the hand-over": at("ready") - at("proving"),
  };
  return { total: at("ready") - at("planned"), cloud, boot, playbook, ours, load };
}

const rig = await startRig({ minReady: 0, maxTotal: n }, console.log);
const builds: Build[] = [];
try {
  const seen = new Set<string>();
  for (let wanted = 1; wanted <= n; wanted++) {
    await rig.configure({ minReady: wanted, maxTotal: n });
    await rig.poolIs(({ ready }) => ready >= wanted);
    for (const { name } of rig.store.machines({ states: ["ready"] })) {
      if (seen.has(name)) continue;
      seen.add(name);
      const one = await build(rig, name, loadavg()[0] ?? 0);
      builds.push(one);
      console.log(JSON.stringify(one));
    }
  }
} finally {
  await rig.close();
}

const spread = (list: readonly number[]) =>
  [0, 0.5, 1]
    .map((p, index) => `${["lowest", "median", "highest"][index]} ${quantile(list, p).toFixed(1)}`)
    .join(", ");
const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;
const line = (name: string, list: readonly number[]) => [
  name,
  ...[0.5, 0.99].map((p) => seconds(quantile(list, p))),
];
const sum = (parts: Readonly<Record<string, number>>) => Object.values(parts).reduce((a, b) => a + b, 0);
const [first] = builds;
const text = `# Building a machine: our own overhead

From the planned row to ready, less what the cloud's actions, the machine's boot (until cloud-init has finished) and the
playbook take, which are other people's or do the work itself. One machine at a time in nspawn, actions at a hundredth
of Hetzner's times. Times are from audit rows, the cloud's own records and the machine. Written by
\`npm run bench:build\`.

- Machine: ${describeMachine()}; load average at the end of each build: ${spread(builds.map(({ load }) => load))}
- n = ${builds.length}; p99 by nearest rank is the largest
- Date: ${new Date().toISOString().slice(0, 10)}

${table(
  ["part", "p50", "p99"],
  [
    line(
      "**ours**",
      builds.map(({ ours }) => sum(ours)),
    ),
    ...Object.keys(first?.ours ?? {}).map((part) =>
      line(
        `… ${part}`,
        builds.map(({ ours }) => ours[part] ?? Number.NaN),
      ),
    ),
    ...(["cloud", "boot", "playbook", "total"] as const).map((part) =>
      line(
        part,
        builds.map((each) => each[part]),
      ),
    ),
  ],
)}

Aim for ours: at most 2 s.
`;
writeFileSync(fileURLToPath(new URL("../../docs/benchmarks/build.md", import.meta.url)), text);
console.log(text);

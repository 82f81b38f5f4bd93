/**
 * `npm run bench:calls`: Hetzner calls for a machine's whole life (create and boot, one change of labels, destroy)
 * with realistic action times, through the gate and with the bare provider, one machine alone and ten at once.
 * Counted by the cloud's own log, so nothing that the gate could forget is missing. Writes docs/benchmarks/calls.md.
 */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../../pool/clock.ts";
import { defaultTiming } from "../../pool/cloud/gate/gate.ts";
import { runTerraform } from "../../pool/terraform/run.ts";
import { synthMachine } from "../../pool/terraform/synth.ts";
import type { RunResult } from "../../pool/terraform/terraform.ts";
import { permit } from "../gate/rig.ts";
import { startTerraformRig, type TerraformRig } from "../gate/terraform-rig.ts";

interface Life {
  readonly way: string;
  readonly machines: number;
  readonly calls: number;
  readonly byRoute: Readonly<Record<string, number>>;
  /** Mean of all machines, in seconds. */
  readonly createS: number;
  readonly destroyS: number;
}

let serial = 0;
const seconds = (result: RunResult) => (result.endedAt - result.startedAt) / 1_000;
const mean = (list: readonly number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;

function must(result: RunResult): RunResult {
  if (!result.ok) throw new Error(result.errors.map((error) => error.summary).join("; "));
  return result;
}

/** A machine's stages are minutes apart or more: longer than the gate remembers a server. */
const apart = () => systemClock.delay(2 * defaultTiming.serverMs);

/**
 * The bare provider the best way known: constant polls of 1 s, in the same stack. The daemon's own 200 ms are made
 * for the gate and would cost five times the polls.
 */
async function bareRun(
  rig: TerraformRig,
  name: string,
  labels: object,
  commands: string[][],
): Promise<number> {
  const folder = await synthMachine(rig.root, rig.stack(name, { ...labels }));
  const file = join(folder, "cdk.tf.json");
  const stack = readFileSync(file, "utf8");
  if (!stack.includes('"200ms"')) throw new Error("the stack's poll interval has changed");
  writeFileSync(file, stack.replace('"200ms"', '"1s"'));
  const started = Date.now();
  for (const [number, args] of [["init", "-input=false"], ...commands].entries()) {
    const invocation = {
      bin: "terraform",
      folder,
      run: `bench-${number}`,
      access: rig.bare,
      cliConfig: rig.cliConfig,
    };
    const outcome = await runTerraform(invocation, args);
    if (outcome.exitCode !== 0)
      throw new Error(`terraform ${args.join(" ")}: ${JSON.stringify(outcome.lines.at(-1))}`);
  }
  return (Date.now() - started) / 1_000;
}

async function life(rig: TerraformRig, way: string, machines: number, bare: boolean): Promise<Life> {
  rig.hetzner.clearCalls();
  const names = [...Array(machines).keys()].map(() => `claw-bench-${++serial}`);
  const set = (name: string, state: string, mayDestroy: boolean) => {
    const serverId = rig.ledger.rows.get(name)?.serverId ?? null;
    rig.ledger.rows.set(name, { state, serverId, order: null, mayDestroy });
  };
  const apply = async (name: string, labels: Record<string, string>, guard: boolean) => {
    if (bare) {
      const commands = guard
        ? [
            ["plan", "-json", "-out=p.bin"],
            ["apply", "-json", "p.bin"],
          ]
        : [["apply", "-json", "-auto-approve"]];
      return bareRun(rig, name, labels, commands);
    }
    const run = rig.gate.openRun(permit(name));
    return seconds(
      must(
        await rig.terraform.applyMachine(
          rig.stack(name, labels),
          run,
          guard ? { guard: rig.ledger.rows.get(name)?.serverId ?? 0 } : {},
        ),
      ),
    );
  };
  const destroy = async (name: string) => {
    if (bare) return bareRun(rig, name, { order: "o" }, [["destroy", "-json", "-auto-approve"]]);
    return seconds(must(await rig.terraform.destroyMachine(name, rig.gate.openRun(permit(name)))));
  };
  for (const name of names) set(name, "creating", false);
  const creates = await Promise.all(names.map((name) => apply(name, {}, false)));
  await apart();
  for (const name of names) set(name, "serving", false);
  await Promise.all(names.map((name) => apply(name, { order: "o" }, true)));
  await apart();
  for (const name of names) set(name, "releasing", true);
  const destroys = await Promise.all(names.map(destroy));
  const byRoute: Record<string, number> = {};
  const calls = rig.hetzner.calls();
  for (const call of calls) {
    const key = `${call.method} ${call.route}`;
    byRoute[key] = (byRoute[key] ?? 0) + 1;
  }
  return {
    way,
    machines,
    calls: calls.length,
    byRoute,
    createS: mean(creates),
    destroyS: mean(destroys),
  };
}

const rig = await startTerraformRig({ profile: "realistic" });
const lives: Life[] = [];
try {
  for (const [way, machines, bare] of [
    ["gate, cold", 1, false],
    ["gate, knows the durations", 1, false],
    ["gate, knows the durations", 10, false],
    ["bare provider", 1, true],
    ["bare provider", 10, true],
  ] as const) {
    const measured = await life(rig, way, machines, bare);
    lives.push(measured);
    console.log(JSON.stringify(measured));
  }
} finally {
  await rig.close();
}

const model = cpus()[0]?.model ?? "unknown CPU";
const machine = `${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
const terraformVersion = execFileSync("terraform", ["version"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "ignore"],
}).split("\n")[0];
const provider = rig.realProvider ? "terraform-provider-hcloud" : "the stand-in provider";
const rows = lives.map(
  (each) =>
    `| ${each.way} | ${each.machines} | ${each.calls} | ${(each.calls / each.machines).toFixed(1)} | ${each.createS.toFixed(1)} s | ${each.destroyS.toFixed(1)} s |`,
);
const routes = [...new Set(lives.flatMap((each) => Object.keys(each.byRoute)))].sort();
const routeRows = routes.map(
  (route) => `| \`${route}\` | ${lives.map((each) => each.byRoute[route] ?? 0).join(" | ")} |`,
);
const text = `# Hetzner calls for a machine's whole life

Create and boot, one change of labels (planned, checked, applied), destroy; counted by the cloud's own call log.
Actions take 12 s (create_server), 4 s (start_server) and 6 s (delete_server), each ± 15 %. Written by
\`npm run bench:calls\`.

- Machine: ${machine}; Node ${process.versions.node}; ${terraformVersion} with ${provider}, polls every 200 ms through
  the gate and every 1 s without it
- Date: ${new Date().toISOString().slice(0, 10)}

| way | machines at once | calls | for each machine | create, mean | destroy, mean |
|---|---|---|---|---|---|
${rows.join("\n")}

Aims: at most 24 for one alone, at most 12 for each of ten built at once.

| call | ${lives.map((each) => `${each.way}, ${each.machines}`).join(" | ")} |
|---|${lives.map(() => "---|").join("")}
${routeRows.join("\n")}
`;
writeFileSync(fileURLToPath(new URL("../../docs/benchmarks/calls.md", import.meta.url)), text);
console.log(text);

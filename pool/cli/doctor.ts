import { accessSync, constants, statfsSync } from "node:fs";
import type { Command } from "commander";
import { execa } from "execa";
import { systemClock } from "../clock.ts";
import { createBudget } from "../cloud/budget.ts";
import { createCloud } from "../cloud/hetzner.ts";
import type { Config } from "../config/config.ts";
import { loadConfig } from "../config/load.ts";
import { channelsOf } from "../notify/courier.ts";
import { verifySmtp } from "../notify/mail.ts";
import { createTailnet } from "../tailnet/client.ts";
import { askDaemon } from "./admin-client.ts";

interface Finding {
  readonly check: string;
  readonly ok: boolean;
  readonly detail: string;
  /** What to do about it. */
  readonly remedy?: string;
}

type Check = (config: Config) => Promise<Omit<Finding, "check">>;

const leastFreeGiB = 2;

const good = (detail: string) => ({ ok: true, detail });
const bad = (detail: string, remedy: string) => ({ ok: false, detail, remedy });
const why = (error: unknown) => (error instanceof Error ? error.message : String(error));

const checks: Readonly<Record<string, Check>> = {
  async "state folder"({ stateDir }) {
    try {
      accessSync(stateDir, constants.W_OK);
    } catch {
      return bad(`${stateDir} cannot be written`, `mkdir -p ${stateDir} and give it to the daemon's user`);
    }
    const { bavail, bsize } = statfsSync(stateDir);
    const free = (bavail * bsize) / 2 ** 30;
    if (free < leastFreeGiB)
      return bad(`${free.toFixed(1)} GiB free in ${stateDir}`, `keep at least ${leastFreeGiB} GiB free`);
    return good(`${stateDir}, ${free.toFixed(0)} GiB free`);
  },
  async terraform({ terraform }) {
    try {
      const { stdout } = await execa(terraform.bin, ["version", "-json"], { timeout: 10_000 });
      return good(`${terraform.bin} ${JSON.parse(stdout).terraform_version}`);
    } catch (error) {
      return bad(why(error).split("\n")[0] ?? "", "install terraform 1.11 or newer, or set terraform.bin");
    }
  },
  async python() {
    try {
      return good((await execa("python3", ["--version"], { timeout: 10_000 })).stdout);
    } catch {
      return bad("python3 does not run", "install Python 3.11 or newer with venv (Debian: python3-venv)");
    }
  },
  async hetzner({ hetzner, pools }) {
    const budget = createBudget({ requestsPerHour: hetzner.requestsPerHour, clock: systemClock });
    const cloud = createCloud({ ...hetzner, budget, deadlineMs: 10_000 });
    const [types, locations] = await Promise.all([cloud.serverTypes(), cloud.locations()]);
    for (const pool of pools) {
      const type = types.find((candidate) => candidate.name === pool.serverType);
      if (!type)
        return bad(`Hetzner has no server type ${pool.serverType}`, `set pools.${pool.name}.server_type`);
      const unknown = pool.locations.filter((location) => !locations.includes(location));
      if (unknown.length > 0) return bad(`Hetzner has no location ${unknown.join(", ")}`, "set regions");
      if (!pool.locations.some((location) => type.availableIn.includes(location))) {
        const places = type.availableIn.join(", ") || "nowhere";
        return bad(
          `${pool.serverType} is sold out in ${pool.locations.join(", ")} (available: ${places})`,
          "add a region",
        );
      }
    }
    return good(`${hetzner.endpoint} answers, every pool's type can be had`);
  },
  async tailnet({ tailnet }) {
    if (!tailnet) return good("not configured: machines will have no tailnet address");
    const client = createTailnet({ ...tailnet, clock: systemClock });
    const tag = tailnet.tags[0] ?? "";
    const devices = await client.devices(tag);
    return good(`${tailnet.apiUrl} answers, ${devices.length} devices with ${tag}`);
  },
  async stripe({ stripe }) {
    const odd = stripe.webhookSecrets.findIndex((secret) => !secret.expose().startsWith("whsec_"));
    if (odd >= 0)
      return bad(
        `webhook secret ${odd + 1} does not start with whsec_`,
        "copy the endpoint's signing secret from Stripe",
      );
    if (!/^(?:sk|rk)_(?:live|test)_/.test(stripe.key.expose())) {
      return bad("the key is no secret or restricted key", "use sk_… or rk_… from Stripe");
    }
    return good(`${stripe.key.expose().includes("_live_") ? "live" : "test"} mode`);
  },
  async notify({ notify }) {
    const channels = channelsOf(notify);
    if (channels.length === 0)
      return good("not configured: what needs a person is only in `clawpool status` and the status page");
    if (notify.operators.mail && notify.smtp) await verifySmtp(notify.smtp);
    return good(`${channels.join(", ")}; \`clawpool notify test\` sends a message to each`);
  },
  async daemon({ stateDir }) {
    const status = await askDaemon<{ pools: unknown[] }>(stateDir, "GET", "/status");
    return good(`runs, ${status.pools.length} pools`);
  },
};

/** `clawpool doctor`: can everything that the configuration names be reached and used? */
export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .description("check everything that the configuration names")
    .option("--json", "as JSON")
    .action(async (options: { json?: boolean }) => {
      const config = loadConfig(program.opts().config);
      const findings = await Promise.all(
        Object.entries(checks).map(async ([check, run]): Promise<Finding> => {
          try {
            return { check, ...(await run(config)) };
          } catch (error) {
            return { check, ok: false, detail: why(error) };
          }
        }),
      );
      if (options.json) console.log(JSON.stringify(findings, null, 2));
      else for (const finding of findings) console.log(line(finding));
      if (findings.some((finding) => !finding.ok)) process.exitCode = 1;
    });
}

const line = ({ ok, check, detail, remedy }: Finding): string =>
  `${ok ? "ok  " : "BAD "} ${check}: ${detail}${remedy ? `; ${remedy}` : ""}`;

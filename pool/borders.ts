/** Everything that speaks with other people's systems, wired by hand. A border knows nothing of machines or orders. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Logger } from "pino";
import { type Ansible, createAnsible } from "./ansible/ansible.ts";
import type { Clock } from "./clock.ts";
import { createBudget } from "./cloud/budget.ts";
import type { Cloud, Gate, GateLedger } from "./cloud/cloud.ts";
import { createGate } from "./cloud/gate/gate.ts";
import { createCloud } from "./cloud/hetzner.ts";
import type { Config } from "./config/config.ts";
import { type Courier, createCourier } from "./notify/courier.ts";
import type { Releasers } from "./releasers.ts";
import { ensureAnsible, ensureCollections } from "./setup/venv.ts";
import type { Ssh } from "./ssh/ssh.ts";
import { createSsh } from "./ssh/ssh2.ts";
import { createStripeGateway } from "./stripe/gateway.ts";
import type { StripeGateway } from "./stripe/stripe.ts";
import { type AuditRecorder, auditedTailnet } from "./tailnet/audited.ts";
import { createTailnet } from "./tailnet/client.ts";
import { createKeyStock } from "./tailnet/key-stock.ts";
import type { KeyStock, Tailnet } from "./tailnet/tailnet.ts";
import { createTerraform } from "./terraform/create-terraform.ts";
import type { Terraform } from "./terraform/terraform.ts";

/** A key outlives the longest hand-over with its repeats. */
export const leastKeyLifeMs = 180_000;

/** Where terraform's folders are, below the state folder. */
export const terraformRoot = (config: Config): string => join(config.stateDir, "terraform");

export interface Borders {
  readonly gate: Gate;
  readonly cloud: Cloud;
  readonly terraform: Terraform;
  readonly ansible: Ansible;
  readonly ssh: Ssh;
  readonly stripe: StripeGateway;
  /** Null in an installation without Tailscale, as are its keys. */
  readonly tailnet: Tailnet | null;
  readonly keys: KeyStock | null;
  readonly courier: Courier;
}

/** @throws Error when the gate cannot listen or Ansible cannot be set up. */
export async function openBorders(
  current: () => Config,
  ledger: GateLedger,
  options: {
    readonly clock: Clock;
    /** For waiting only; it need not know the time of day. */
    readonly answerClock: Clock;
    readonly log: Logger;
    readonly record: AuditRecorder;
  },
  releasers: Releasers,
): Promise<Borders> {
  const { answerClock, log, record } = options;
  const config = current();
  const { hetzner, tailnet: settings, prepare } = config;
  const budget = createBudget({ requestsPerHour: hetzner.requestsPerHour, clock: answerClock });
  const gate = await createGate({ upstream: hetzner, ledger, budget, log, clock: answerClock });
  releasers.add("gate", () => gate.close());

  const tailnet = settings && auditedTailnet(createTailnet({ ...settings, clock: answerClock }), record);
  const keys =
    tailnet &&
    createKeyStock({
      minTtlMs: leastKeyLifeMs,
      tailnet,
      clock: answerClock,
      tags: settings.tags,
      instance: config.instance,
      size: settings.keyStock,
      onRevokeFailed: (key, err) => log.warn({ key, err }, "a Tailscale key was not revoked"),
    });
  if (keys) releasers.add("Tailscale keys", () => keys.close());

  const onProgress = (text: string) => log.info(text);
  const { bin } = await ensureAnsible({ onProgress });
  return {
    gate,
    cloud: createCloud({ ...hetzner, budget, clock: answerClock }),
    terraform: createTerraform({ root: terraformRoot(config), ...config.terraform, clock: answerClock }),
    ansible: createAnsible({
      bin,
      // What machines are prepared by may change while the daemon runs: that is how a roll-out begins.
      get playbook() {
        return current().prepare.playbook;
      },
      collectionsPath: prepare.collectionsPath ?? (await openclawCollection(bin, onProgress)),
      logDir: join(config.stateDir, "ansible"),
      get vars() {
        const { prepare: now, agent } = current();
        return {
          ...now.vars,
          clawpool_gateway_port: agent.gatewayPort,
          clawpool_default_model: agent.model,
        };
      },
    }),
    ssh: createSsh(),
    stripe: createStripeGateway({ ...config.stripe, clock: options.clock }),
    tailnet,
    keys,
    courier: createCourier(() => current().notify, options.clock),
  };
}

/** openclaw-ansible at the commit that ansible/requirements.yml pins. */
async function openclawCollection(bin: string, onProgress: (text: string) => void): Promise<string> {
  const requirementsFile = fileURLToPath(new URL("../ansible/requirements.yml", import.meta.url));
  return (await ensureCollections({ requirementsFile, bin, onProgress })).path;
}

/**
 * The local cloud: everything that belongs to other people, on this machine. The product gets endpoints, tokens and a
 * terraform CLI config out of it, as an operator would set them, and never knows.
 */
import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { type Clock, systemClock } from "../../pool/clock.ts";
import { ensureAnsible } from "../../pool/setup/venv.ts";
import { type Hetzner, startHetzner } from "./hetzner/hetzner.ts";
import type { MachineBackend } from "./machines/backend.ts";
import { createNspawnBackend, type NspawnBackend } from "./machines/nspawn/backend.ts";
import { rootImage } from "./machines/nspawn/image.ts";
import { createProcessBackend } from "./machines/process/backend.ts";
import { type Mail, type MailSink, startMail } from "./mail/mail.ts";
import { type ModelServer, startModelServer } from "./model/server.ts";
import { ensureProviderMirror } from "./provider/mirror.ts";
import { ensureLocalMirror, mirrorMount } from "./role/mirror.ts";
import { type LocalStripe, startStripe } from "./stripe/stripe.ts";
import { type LocalTailscale, startTailscale } from "./tailscale/api.ts";
import { ensureTailscale, type TailscaleBinaries } from "./tailscale/build.ts";

export type MachineKind = "nspawn" | "process";

export interface LocalCloudOptions {
  readonly machines: MachineKind;
  /** State of this cloud: disks, databases, logs, the operator's files. */
  readonly dir: string;
  /** How long Hetzner's actions take. */
  readonly profile?: "realistic" | "fast";
  /** Divides them by so much instead. */
  readonly speed?: number;
  /** Decides how they are spread; the same one gives the same durations. */
  readonly seed?: number;
  /** Servers that Hetzner lets the account have; its default unless told. */
  readonly serverLimit?: number;
  /** What Hetzner and Stripe take for the time; Hetzner's actions last as long as they do. */
  readonly clock?: Clock;
  readonly onProgress?: (text: string) => void;
  /** For whoever wants to see the mails as they come. */
  readonly onMail?: (mail: Mail) => void;
}

export interface LocalCloud {
  readonly machines: MachineKind;
  readonly backend: MachineBackend;
  /** Only with nspawn machines. */
  readonly nspawn: NspawnBackend | null;
  /** Only with process machines: the folder that stands for a machine's root. */
  readonly rootOf: ((serverId: number) => string) | null;
  readonly hetzner: Hetzner;
  readonly tailscale: LocalTailscale;
  /** Built only for nspawn machines. */
  readonly binaries: TailscaleBinaries | null;
  readonly stripe: LocalStripe;
  readonly model: ModelServer;
  readonly mail: MailSink;
  /** What an operator would write into clawpool.yaml to use all this, secrets by file. */
  writeConfig(change?: ConfigChange): Promise<OperatorFiles>;
  stop(): Promise<void>;
}

export interface ConfigChange {
  readonly minReady?: number;
  readonly maxTotal?: number;
  readonly maxParallelBuilds?: number;
  readonly releaseGrace?: string;
  /** Behind the first failed build; ten seconds unless told. */
  readonly failurePause?: string;
  /** For a server to be made. */
  readonly creatingDeadline?: string;
  readonly listen?: string;
  /** Between two looks at a machine that serves. */
  readonly heartbeat?: string;
  /** Between two proofs of a ready machine, and behind one that it missed. */
  readonly proof?: { readonly every: string; readonly again: string };
  /** How long a canary has to last. */
  readonly soak?: string;
  /** More of what machines are prepared by: each change is another recipe. */
  readonly vars?: Readonly<Record<string, unknown>>;
  /** Of the pool's machines; `debian-12` unless told. */
  readonly image?: string;
  /** In the place of `terraform`. */
  readonly terraformBin?: string;
  /** Of the web app that buyers come from and go back to. */
  readonly shopUrl?: string;
}

export interface OperatorFiles {
  readonly configFile: string;
  readonly stateDir: string;
  readonly apiToken: string;
}

const here = dirname(fileURLToPath(import.meta.url));
const processSshPort = 22_022;
const price = "price_clawpool_small";
/** Ten times Hetzner's: with the fast profile an hour of work fits into a few minutes. */
const requestsPerHour = 36_000;

/** Takes what needs building from the cache or builds it; several at once, as far as they do not need each other. */
async function ingredients(kind: MachineKind, onProgress: (text: string) => void) {
  const provider = ensureProviderMirror(onProgress);
  const ansible = ensureAnsible({ onProgress });
  if (kind === "process") {
    const [{ cliConfigFile }] = await Promise.all([provider, ansible]);
    return { cliConfigFile, binaries: null, mirror: null };
  }
  const [{ cliConfigFile }, binaries] = await Promise.all([
    provider,
    ensureTailscale({ onProgress }),
    ansible,
    // Asked for again below and at the backend's start; here so that the network's waits and the compilers overlap.
    ensureLocalMirror({ onProgress }),
    rootImage(onProgress),
  ]);
  const { dir } = await ensureLocalMirror({ tailscale: binaries, onProgress });
  return { cliConfigFile, binaries, mirror: dir };
}

/** @throws Error that names each part which is missing on this host, and how to get it. */
async function refuseMissing(
  machines: MachineKind,
  stateDir: string,
  onProgress: (text: string) => void,
): Promise<void> {
  const nspawn = machines === "nspawn" ? createNspawnBackend({ stateDir, onProgress }) : null;
  await nspawn?.installMissing();
  const missing = await (nspawn ?? createProcessBackend({ stateDir })).missing();
  if (missing.length === 0) return;
  const list = missing.map(({ part, remedy }) => `  ${part}: ${remedy}`).join("\n");
  throw new Error(`${machines} machines cannot run here; missing:\n${list}`);
}

/** @throws Error that names each part which is missing on this host, and how to get it. */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const { machines, dir, onProgress = () => {} } = options;
  await mkdir(dir, { recursive: true });
  // Before anything is built: what is built takes minutes.
  await refuseMissing(machines, dir, onProgress);
  const stops: (() => Promise<unknown>)[] = [];
  const time = options.clock ? { clock: options.clock, actionClock: systemClock } : {};
  try {
    const { cliConfigFile, binaries, mirror } = await ingredients(machines, onProgress);
    const machineDir = join(dir, "machines");
    const nspawn =
      machines === "nspawn"
        ? createNspawnBackend({
            stateDir: machineDir,
            onProgress,
            ...(mirror ? { mounts: { [mirrorMount]: mirror } } : {}),
          })
        : null;
    const tailscaleEarly = nspawn
      ? null
      : await startTailscale({ mode: "simulated", dir: join(dir, "tailscale") });
    const folders = nspawn
      ? null
      : createProcessBackend({
          stateDir: machineDir,
          sshPort: processSshPort,
          ...(tailscaleEarly?.registerUrl ? { registerUrl: tailscaleEarly.registerUrl } : {}),
        });
    const backend = (nspawn ?? folders) as MachineBackend;
    if (tailscaleEarly) stops.push(() => tailscaleEarly.close());
    await backend.start();
    stops.push(() => backend.stop());

    const host = nspawn?.gateway ?? "127.0.0.1";
    const tailscale =
      tailscaleEarly ??
      (await startTailscale({
        mode: "real",
        dir: join(dir, "tailscale"),
        listenHost: host,
        ...(binaries ? { binaries } : {}),
      }));
    if (!tailscaleEarly) stops.push(() => tailscale.close());
    const model = await startModelServer({ host });
    stops.push(() => model.close());
    const stripe = await startStripe({ prices: [price], ...(options.clock ? { clock: options.clock } : {}) });
    stops.push(() => stripe.close());
    const mail = await startMail(options.onMail ? { onMail: options.onMail } : {});
    stops.push(() => mail.close());
    const hetzner = await startHetzner({
      stateDir: join(dir, "hetzner"),
      backend,
      profile: options.profile ?? "fast",
      ...(options.speed === undefined ? {} : { speed: options.speed }),
      ...(options.seed === undefined ? {} : { seed: options.seed }),
      ...(options.serverLimit === undefined ? {} : { serverLimit: options.serverLimit }),
      ...time,
      requestsPerHour,
    });
    // Servers are the emulator's: it goes before the machines do.
    stops.push(() => hetzner.close());

    const own = {
      apiToken: randomBytes(24).toString("base64url"),
      sealingKey: randomBytes(32).toString("base64"),
    };
    return {
      machines,
      backend,
      nspawn,
      rootOf: folders && ((serverId) => folders.rootOf(serverId)),
      hetzner,
      tailscale,
      binaries,
      stripe,
      model,
      mail,
      writeConfig: (change = {}) =>
        writeConfig({ dir, machines, hetzner, tailscale, stripe, model, cliConfigFile, own, change }),
      stop: () => unwind(stops),
    };
  } catch (error) {
    await unwind(stops);
    throw error;
  }
}

/** Last started, first stopped; what fails does not keep the rest from stopping. */
async function unwind(stops: (() => Promise<unknown>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (let stop = stops.pop(); stop; stop = stops.pop())
    await stop().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw new AggregateError(errors, "the local cloud did not stop cleanly");
}

async function writeConfig(cloud: {
  dir: string;
  machines: MachineKind;
  hetzner: Hetzner;
  tailscale: LocalTailscale;
  stripe: LocalStripe;
  model: ModelServer;
  cliConfigFile: string;
  /** The operator's own secrets; the same each time, or a changed file would need a restart. */
  own: { apiToken: string; sealingKey: string };
  change: ConfigChange;
}): Promise<OperatorFiles> {
  const { dir, hetzner, tailscale, stripe, model, change } = cloud;
  const secrets = join(dir, "secrets");
  const stateDir = join(dir, "state");
  await mkdir(secrets, { recursive: true, mode: 0o700 });
  const { apiToken, sealingKey } = cloud.own;
  const secret = async (name: string, text: string) => {
    const file = join(secrets, name);
    await writeFile(file, text, { mode: 0o600 });
    return { file };
  };
  const listen = change.listen ?? "127.0.0.1:0";
  const config = {
    instance: "local",
    state_dir: stateDir,
    plans: { small: { price } },
    pools: {
      "small-eu": {
        plan: "small",
        regions: ["eu-central"],
        server_type: "cx23",
        image: change.image ?? "debian-12",
        min_ready: change.minReady ?? 1,
        max_total: change.maxTotal ?? 10,
        ...(change.proof ? { proof: change.proof } : {}),
        ...(change.soak ? { rollout: { soak: change.soak } } : {}),
        ...(change.failurePause ? { failure_budget: { first_pause: change.failurePause, run: 50 } } : {}),
      },
    },
    max_total: change.maxTotal ?? 10,
    max_parallel_builds: change.maxParallelBuilds ?? 3,
    release_grace: change.releaseGrace ?? "0s",
    ...(change.heartbeat ? { serving: { heartbeat: change.heartbeat } } : {}),
    ...(change.creatingDeadline ? { deadlines: { creating: change.creatingDeadline } } : {}),
    api: {
      listen,
      public_url: `http://${listen}`,
      tokens: [await secret("api.token", apiToken)],
    },
    stripe: {
      key: await secret("stripe.key", stripe.key),
      webhook_secrets: [await secret("stripe.webhook", stripe.webhookSecret)],
      api_url: stripe.apiUrl,
      success_url: `${change.shopUrl ?? "https://shop.example"}/thanks`,
      cancel_url: `${change.shopUrl ?? "https://shop.example"}/cart`,
    },
    hetzner: {
      token: await secret("hetzner.token", hetzner.token),
      endpoint: hetzner.endpoint,
      requests_per_hour: requestsPerHour,
    },
    terraform: {
      cli_config: cloud.cliConfigFile,
      ...(change.terraformBin ? { bin: change.terraformBin } : {}),
    },
    network: { ssh_from: ["127.0.0.1/32"] },
    ssh: { port: cloud.machines === "nspawn" ? 22 : processSshPort },
    tailnet: {
      client_id: tailscale.clientId,
      client_secret: await secret("tailscale.secret", tailscale.clientSecret),
      api_url: tailscale.apiUrl,
      control_url: tailscale.controlUrl,
    },
    prepare: {
      collections_path: join(here, "role"),
      ...(cloud.machines === "process" ? { playbook: join(here, "machines", "process", "prepare.yml") } : {}),
      vars: {
        clawpool_providers: [
          {
            id: "local",
            key_variable: "CLAW_MODEL_API_KEY",
            base_url: `${model.url}/v1`,
            api: "openai-completions",
            models: [
              { id: "claw", name: "Claw" },
              { id: "claw-large", name: "Claw Large" },
            ],
          },
        ],
        clawpool_role_commit: "stand-in",
        // Containers see the memory of their host, which many of them share.
        clawpool_gateway_heap_mib: 2_048,
        ...(cloud.machines === "nspawn" ? { clawpool_npm_cache: `${mirrorMount}/npm-cache` } : {}),
        ...change.vars,
      },
    },
    agent: { model: "local/claw" },
    sealing_keys: [await secret("sealing.key", sealingKey)],
  };
  const configFile = join(dir, "clawpool.yaml");
  await writeFile(configFile, stringify(config), { mode: 0o600 });
  return { configFile, stateDir, apiToken };
}

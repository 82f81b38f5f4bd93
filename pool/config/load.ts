/** Reads clawpool.yaml into the resolved Config, or says what is wrong with it: line, column, key and remedy. */
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Document, isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { Secret } from "../secrets/secret.ts";
import type { Config, SweepsConfig } from "./config.ts";
import { explain } from "./explain.ts";
import { resolveNotify } from "./notify.ts";
import { resolvePool } from "./pool.ts";
import { type ConfigFile, shape } from "./shape.ts";

/** Everything that is wrong with a file, each with its place; nothing of it was applied. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly problems: readonly string[];

  constructor(file: string, problems: readonly string[]) {
    super(`${file} is not usable:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.problems = problems;
  }
}

type Path = readonly PropertyKey[];

/** A file that is usable: what it says, and what that means. */
export interface ConfigSource {
  /** Absolute. */
  readonly path: string;
  /** As the operator wrote it, without comments; secrets are references. */
  readonly written: unknown;
  /** The same with every default, durations in milliseconds. */
  readonly file: ConfigFile;
  readonly config: Config;
}

/** Whether secrets are read: who only compares files need not have them. */
export type Secrets = "read" | "left out";

/** @throws ConfigError with every problem of the file. */
export function loadConfig(file: string, env: NodeJS.ProcessEnv = process.env): Config {
  return loadSource(file, { env }).config;
}

/** @throws ConfigError with every problem of the file. */
export function loadSource(
  file: string,
  options: { readonly env?: NodeJS.ProcessEnv; readonly secrets?: Secrets } = {},
): ConfigSource {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(file, [
      `cannot be read: ${(error as Error).message}; make one with \`clawpool init\``,
    ]);
  }
  const { env = process.env, secrets = "read" } = options;
  return parseSource(text, file, secrets === "read" ? env : null);
}

/** @throws ConfigError with every problem of the text. */
export const parseConfig = (text: string, file: string, env: NodeJS.ProcessEnv): Config =>
  parseSource(text, file, env).config;

/**
 * @param env where `{ env: NAME }` is looked up; null leaves the secrets out, each is empty
 * @throws ConfigError with every problem of the text.
 */
export function parseSource(text: string, file: string, env: NodeJS.ProcessEnv | null): ConfigSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: true, uniqueKeys: true });
  if (document.errors.length > 0) {
    throw new ConfigError(
      file,
      document.errors.map((error) => error.message),
    );
  }
  const at = (path: Path): string => place(document, lines, path);
  let content: unknown;
  try {
    content = document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor, or aliases that would grow without bound: found only when they are resolved.
    throw new ConfigError(file, [error instanceof Error ? error.message : String(error)]);
  }
  const parsed = shape.safeParse(content);
  if (!parsed.success) {
    throw new ConfigError(
      file,
      parsed.error.issues.flatMap((issue) => explain(issue, at)),
    );
  }
  const problems: string[] = [];
  const path = resolve(file);
  const config = resolveConfig(parsed.data, dirname(path), env, (path, text) =>
    problems.push(`${at(path)}${path.join(".")}: ${text}`),
  );
  if (problems.length > 0) throw new ConfigError(file, problems);
  return { path, written: content, file: parsed.data, config };
}

/** What was written once, with every default; null when it is not usable by this release. */
export function fileOf(written: unknown): ConfigFile | null {
  const parsed = shape.safeParse(written);
  return parsed.success ? parsed.data : null;
}

/** The same, resolved, its secrets left out. */
export function configOf(written: unknown, path: string): Config | null {
  const file = fileOf(written);
  return file && resolveConfig(file, dirname(path), null, () => {});
}

/** `line 3, column 5: `, of the deepest part of the path that the document has. */
function place(document: Document, lines: LineCounter, path: Path): string {
  for (let length = path.length; length > 0; length--) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const key = path[length - 1];
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    const node = (pair?.key ?? document.getIn(path.slice(0, length), true)) as
      | { range?: [number, number, number] }
      | undefined;
    if (node?.range) {
      const { line, col } = lines.linePos(node.range[0]);
      return `line ${line}, column ${col}: `;
    }
  }
  return "";
}

const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** Contradictions that one field alone does not show are reported through `wrong`. */
function resolveConfig(
  file: ConfigFile,
  base: string,
  env: NodeJS.ProcessEnv | null,
  wrong: (path: Path, text: string) => void,
): Config {
  const secret = (source: { file: string } | { env: string }, path: Path): Secret => {
    if (env === null) return new Secret("");
    try {
      const text =
        "file" in source ? readFileSync(resolve(base, source.file), "utf8").trim() : env[source.env];
      if (text) return new Secret(text);
      wrong(
        path,
        "file" in source ? `${source.file} is empty` : `environment variable ${source.env} is not set`,
      );
    } catch (error) {
      wrong(path, `the secret cannot be read: ${(error as Error).message}`);
    }
    return new Secret("");
  };
  const secrets = (sources: readonly ({ file: string } | { env: string })[], path: Path): Secret[] =>
    sources.map((source, index) => secret(source, [...path, index]));

  const [host, port] = file.api.listen.split(":");
  const pools = Object.entries(file.pools).map(([name, pool]) => resolvePool(file, name, pool, wrong));
  const token = secret(file.hetzner.token, ["hetzner", "token"]);
  if (token.expose() !== "" && token.expose().length !== 64) {
    wrong(["hetzner", "token"], `a Hetzner Cloud token has 64 characters, this one ${token.expose().length}`);
  }
  return {
    instance: file.instance,
    stateDir: file.state_dir,
    plans: Object.entries(file.plans).map(([name, plan]) => ({ name, price: plan.price })),
    pools,
    regions: file.regions,
    maxTotal: file.max_total,
    maxSpendPerDay: file.max_spend_per_day,
    maxParallelBuilds: file.max_parallel_builds,
    deadlines: {
      creatingMs: file.deadlines.creating,
      bootingMs: file.deadlines.booting,
      preparingMs: file.deadlines.preparing,
      provingMs: file.deadlines.proving,
      handingOverMs: file.deadlines.handing_over,
      suspendingMs: file.deadlines.suspending,
      resumingMs: file.deadlines.resuming,
    },
    sweeps: resolveSweeps(file, (key, text) => wrong(["sweeps", key], text)),
    serving: resolveServing(file.serving, (key, text) => wrong(["serving", key], text)),
    notify: resolveNotify(file.notify, secret, wrong),
    releaseGraceMs: file.release_grace,
    suspension: {
      overdueMs: file.suspension.overdue,
      neverPaidMs: file.suspension.never_paid,
      dispute: file.suspension.dispute,
      lostDispute: file.suspension.lost_dispute,
      refund: file.suspension.refund,
      keepMs: file.suspension.keep,
      afterwards: file.suspension.afterwards,
    },
    stockMemoryMs: file.stock_memory,
    api: {
      listen: { host: host ?? "", port: Number(port) },
      publicUrl: file.api.public_url,
      tokens: secrets(file.api.tokens, ["api", "tokens"]),
      operators: Object.entries(file.api.operators).map(([name, source]) => ({
        name,
        token: secret(source, ["api", "operators", name]),
      })),
      trustedProxies: file.api.trusted_proxies,
    },
    stripe: {
      key: secret(file.stripe.key, ["stripe", "key"]),
      webhookSecrets: secrets(file.stripe.webhook_secrets, ["stripe", "webhook_secrets"]),
      apiUrl: file.stripe.api_url,
      successUrl: file.stripe.success_url,
      cancelUrl: file.stripe.cancel_url,
    },
    hetzner: { endpoint: file.hetzner.endpoint, token, requestsPerHour: file.hetzner.requests_per_hour },
    terraform: { bin: file.terraform.bin, cliConfig: file.terraform.cli_config },
    network: { sshFrom: file.network.ssh_from, cidr: file.network.cidr, zone: file.network.zone },
    ssh: { port: file.ssh.port },
    tailnet: file.tailnet && {
      apiUrl: file.tailnet.api_url,
      controlUrl: file.tailnet.control_url,
      clientId: file.tailnet.client_id,
      clientSecret: secret(file.tailnet.client_secret, ["tailnet", "client_secret"]),
      tags: file.tailnet.tags,
      rehearsalTags: file.tailnet.rehearsal_tags,
      keyStock: file.tailnet.key_stock,
    },
    prepare: {
      playbook: file.prepare.playbook ?? join(packageRoot, "ansible", "prepare.yml"),
      collectionsPath: file.prepare.collections_path,
      vars: file.prepare.vars,
    },
    agent: { model: file.agent.model, gatewayPort: file.agent.gateway_port },
    sealingKeys: secrets(file.sealing_keys, ["sealing_keys"]),
    backup: resolveBackup(file.backup, (text) => wrong(["backup", "every"], text)),
    log: { level: file.log.level },
  };
}

function resolveSweeps(
  { sweeps, deadlines }: ConfigFile,
  wrong: (key: string, text: string) => void,
): SweepsConfig {
  if (sweeps.every < 5_000)
    wrong("every", "looks more often than every 5s would use up Hetzner's API budget");
  if (sweeps.every > 10 * 60_000) wrong("every", "an orphan is to be found within minutes; want 10m at most");
  if (sweeps.orphan_grace < deadlines.creating) {
    wrong(
      "orphan_grace",
      "shorter than deadlines.creating: what is just being made must never count as left over",
    );
  }
  return {
    everyMs: sweeps.every,
    orphanGraceMs: sweeps.orphan_grace,
    deletesPerHour: sweeps.deletes_per_hour,
    vanishShare: sweeps.vanish_share,
  };
}

function resolveBackup(
  { directory, every: everyMs, keep }: ConfigFile["backup"],
  wrong: (text: string) => void,
): Config["backup"] {
  if (everyMs > 0 && everyMs < 60_000) wrong('one a minute is the most, e.g. "10m", "1h"; "0s" makes none');
  return { directory, everyMs, keep };
}

function resolveServing(
  serving: ConfigFile["serving"],
  wrong: (key: string, text: string) => void,
): Config["serving"] {
  if (serving.heartbeat < 5_000)
    wrong("heartbeat", "one each 5s is the most; a heartbeat starts a program there");
  return {
    heartbeatMs: serving.heartbeat,
    parallel: serving.parallel,
    repairsPerHour: serving.repairs_per_hour,
    tellCustomerAfterMs: serving.tell_customer_after,
  };
}

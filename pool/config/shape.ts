/**
 * The shape of clawpool.yaml, in one place: validation, JSON Schema and the defaults (with their arithmetic) come from
 * here. Keys are snake_case as in YAML; load.ts turns them into the resolved `Config`.
 */
import { z } from "zod";
import { duration, durationPattern, durationText, units } from "./duration.ts";
import { port, secret, url } from "./fields.ts";
import { notifyShape } from "./notify.ts";
import { sizingShape } from "./sizing.ts";

const name = z
  .string()
  .regex(
    /^[a-z](?:[a-z0-9-]{0,18}[a-z0-9])?$/,
    "want a lower-case letter, then up to 19 of a-z 0-9 -, not ending in -",
  );

const location = z
  .string()
  .regex(/^[a-z]{3}\d?$/, "want a Hetzner location such as fsn1, nbg1, hel1, ash, hil, sin");

const cidr = z.union([z.cidrv4(), z.cidrv6()], { error: "want a CIDR such as 203.0.113.7/32" });
const tag = z.string().regex(/^tag:[a-z][a-z0-9-]*$/, "want a tag such as tag:claw-vm");

const serverType = z.string().regex(/^[a-z]+\d+$/, "want a server type such as cx23");

const failureBudget = z
  .strictObject({
    run: z
      .int()
      .min(1)
      .max(50)
      .default(5)
      .describe("so many failed builds one after another stop the refill"),
    share: z
      .number()
      .gt(0)
      .max(1)
      .default(0.5)
      .describe("more than this share of failed builds within `window` stops the refill"),
    at_least: z
      .int()
      .min(1)
      .max(100)
      .default(10)
      .describe("the share of fewer builds than this says nothing"),
    window: duration.default(units.h),
    // 10, 20, 40 … s: a fault of a moment costs one machine, one that lasts costs six an hour until the run ends it.
    first_pause: duration
      .default(10 * units.s)
      .describe("after the first failed build; doubles with each further"),
    longest_pause: duration.default(10 * units.m),
    longest_order_pause: duration
      .default(units.m)
      .describe("the same, before a build that a paying customer waits for"),
    builds_per_order: z
      .int()
      .min(1)
      .max(20)
      .default(5)
      .describe("so many machines may one order use up (builds, hand-overs) before it is given to a person"),
    keep_specimen: duration
      .default(24 * units.h)
      .describe('how long one failed machine is kept to be looked at; "0s" keeps none'),
    alert_share: z
      .number()
      .min(0)
      .max(1)
      .default(0.1)
      .describe("more than this share of failed builds within an hour is told to a person"),
    alert_at_least: z
      .int()
      .min(1)
      .max(100)
      .default(5)
      .describe("the share of fewer builds than this within the hour is not told"),
  })
  .describe("what failed builds may cost before a person is asked");

const proof = z
  .strictObject({
    // A rehearsal keeps a machine from being claimed for about a second and costs two calls of Tailscale's API.
    every: duration.default(4 * units.h).describe("a ready machine is proved again this often, ± 20 %"),
    again: duration
      .default(units.m)
      .describe("after a proof that it missed, ± 20 %; the second miss retires it"),
  })
  .describe("how ready machines are known to be ready still");

const rollout = z
  .strictObject({
    soak: duration
      .default(10 * units.m)
      .describe(
        "the first machine of another content has to last so long, and is proved again, before others follow",
      ),
    surge: z
      .int()
      .min(1)
      .max(20)
      .nullable()
      .default(null)
      .describe(
        "machines above min_ready while others are replaced; default: a tenth of min_ready, at least 1",
      ),
    failures: z
      .int()
      .min(1)
      .max(10)
      .default(2)
      .describe("so many failures one after another stop a roll-out"),
  })
  .describe("how ready machines are replaced when they are too old, or prepared by another recipe");

const pool = z.strictObject({
  plan: name.describe("the plan whose orders this pool serves"),
  regions: z.array(z.string()).min(1).describe("friendly names from `regions`, tried in this order"),
  server_type: serverType,
  other_server_types: z
    .array(serverType)
    .max(10)
    .default([])
    .describe("taken in this order where server_type is sold out in all of the pool's locations"),
  image: z.string().default("debian-12"),
  min_ready: z.int().min(0).max(100).describe("how many warm machines to keep"),
  max_ready: z
    .int()
    .min(0)
    .max(1_000)
    .optional()
    .describe("never more warm machines than this, whatever the policy wants; default: max_total"),
  max_total: z.int().min(1).max(1_000).describe("never more machines than this, customers' included"),
  max_builds_per_minute: z
    .int()
    .min(1)
    .max(600)
    .nullable()
    .default(null)
    .describe("never more builds of this pool are begun within a minute; customers who wait go before"),
  sizing: sizingShape.prefault({}),
  max_age: duration
    .default(14 * units.d)
    .describe("a warm machine that waits this long is replaced, at the end of an hour that is paid for"),
  max_age_jitter: z
    .number()
    .min(0)
    .max(0.9)
    .default(0.2)
    .describe("each machine's own age limit is up to this share lower, so that one birthday is not one end"),
  proof: proof.prefault({}),
  rollout: rollout.prefault({}),
  failure_budget: failureBudget.prefault({}),
});

const sweeps = z
  .strictObject({
    // Seen within 30 s and told a minute later; 120 calls an hour for servers and 240 for the rest, of Hetzner's 3,600.
    every: duration.default(30 * units.s).describe("between two looks at the cloud's servers"),
    orphan_grace: duration
      .default(15 * units.m)
      .describe("how long something that no row knows is left alone, from when it was first seen"),
    deletes_per_hour: z
      .int()
      .min(0)
      .max(100)
      .default(5)
      .describe("the sweeps delete no more than this, of all kinds together; 0 lets them only tell"),
    vanish_share: z
      .number()
      .gt(0)
      .max(1)
      .default(0.2)
      .describe("a list that lacks more than this share of our servers is not believed"),
  })
  .describe("how what others have is compared with what the daemon knows");

const serving = z
  .strictObject({
    heartbeat: duration
      .default(60 * units.s)
      .describe("a machine that serves is looked at this often, ± 10 %"),
    parallel: z.int().min(1).max(100).default(10).describe("so many at once"),
    repairs_per_hour: z
      .int()
      .min(0)
      .max(20)
      .default(3)
      .describe("restarts of a gateway or tailscaled that is down, for each machine; 0: never"),
    tell_customer_after: duration
      .nullable()
      .default(5 * units.m)
      .describe("the order's events tell of trouble that lasts so long; null: never"),
  })
  .describe("how machines that serve are looked after");

const deadlines = z.strictObject({
  // A stock image is there in about 20 s; stock-outs and slow snapshots take minutes.
  creating: duration.default(10 * units.m),
  booting: duration.default(5 * units.m),
  // apt, Node, OpenClaw (330 packages) and a gateway start: about 4 min on a small VM.
  preparing: duration.default(20 * units.m),
  proving: duration.default(3 * units.m),
  handing_over: duration.default(60 * units.s),
  // A system that obeys is off in seconds; systemd gives a unit that does not 90 s.
  suspending: duration.default(2 * units.m).describe("asked to shut down; then it is switched off"),
  // A gateway answers 10 to 80 s after the boot.
  resuming: duration.default(10 * units.m).describe("then a person is told; it is tried on"),
});

const suspension = z
  .strictObject({
    overdue: duration
      .default(7 * units.d)
      .describe("serves on for so long after a renewal failed, while Stripe tries again"),
    never_paid: duration
      .default(0)
      .describe("the same when the very first payment failed, and nothing was ever paid"),
    dispute: z
      .enum(["suspend", "serve"])
      .default("suspend")
      .describe("the customer's bank disputes a payment"),
    lost_dispute: z.enum(["suspend", "serve"]).default("suspend").describe("the bank took a payment back"),
    refund: z
      .enum(["suspend", "serve"])
      .default("serve")
      .describe("the newest payment was refunded in full, though the subscription goes on"),
    keep: z
      .union([duration, z.null()], { error: 'want a duration such as "30d", or null' })
      .default(30 * units.d)
      .describe("how long a suspended machine is kept; null keeps it until its subscription ends"),
    afterwards: z
      .enum(["ask", "cancel"])
      .default("ask")
      .describe("then ask a person, or cancel the subscription in Stripe (whose end ends the machine)"),
  })
  .describe("when an order's machine is switched off and kept, and for how long");

export const shape = z.strictObject({
  instance: name.describe(
    "names this installation in labels and machine names; several may share a Hetzner project",
  ),
  state_dir: z.string().startsWith("/", "want an absolute path").default("/var/lib/clawpool"),
  plans: z
    .record(
      name,
      z.strictObject({ price: z.string().startsWith("price_", "want a Stripe price id (price_…)") }),
    )
    .refine((plans) => Object.keys(plans).length > 0, "want at least one plan"),
  regions: z.record(z.string(), z.array(location).min(1)).default({
    "eu-central": ["fsn1", "nbg1", "hel1"],
    "us-east": ["ash"],
    "us-west": ["hil"],
    "ap-southeast": ["sin"],
  }),
  pools: z.record(name, pool),
  max_total: z.int().min(1).max(1_000).describe("never more machines than this in all pools together"),
  max_spend_per_day: z
    .number()
    .gt(0)
    .max(1_000_000)
    .nullable()
    .default(null)
    .describe("EUR (net) that all machines may cost a day, UTC; no machine is built to wait beyond it"),
  max_parallel_builds: z.int().min(1).max(50).default(4),
  deadlines: deadlines.prefault({}),
  sweeps: sweeps.prefault({}),
  serving: serving.prefault({}),
  notify: notifyShape.prefault({}),
  release_grace: duration
    .default(24 * units.h)
    .describe("between the end of a subscription and the end of its machine"),
  suspension: suspension.prefault({}),
  stock_memory: duration
    .default(10 * units.m)
    .refine((ms) => ms >= units.m, "want at least 1m: each build would ask again at once")
    .describe("a server type that a location had none of is not asked for there again before this is over"),
  api: z.strictObject({
    listen: z
      .string()
      .regex(/^[^:]+:\d{1,5}$/, "want HOST:PORT")
      .default("127.0.0.1:8080"),
    public_url: url,
    tokens: z.array(secret).min(1).describe("bearer tokens of the product team's web app"),
    operators: z
      .record(z.string().regex(/^[a-z][a-z0-9._-]{0,39}$/, "want a person's name such as ada"), secret)
      .default({})
      .describe("bearer tokens of people, by name: they may also start failed orders again"),
    trusted_proxies: z
      .array(cidr)
      .default(["127.0.0.0/8", "::1/128"])
      .describe("whose X-Forwarded-For is believed when failed tokens are counted"),
  }),
  stripe: z.strictObject({
    key: secret,
    webhook_secrets: z
      .array(secret)
      .min(1)
      .describe("the current signing secret, and the next during a rotation"),
    api_url: url.nullable().default(null),
    success_url: url,
    cancel_url: url,
  }),
  hetzner: z.strictObject({
    token: secret,
    endpoint: url.default("https://api.hetzner.cloud/v1"),
    requests_per_hour: z.int().min(60).max(100_000).default(3_600),
  }),
  terraform: z
    .strictObject({ bin: z.string().default("terraform"), cli_config: z.string().nullable().default(null) })
    .prefault({}),
  network: z.strictObject({
    ssh_from: z.array(cidr).min(1).describe("who may reach port 22: the controller's own addresses"),
    cidr: z.cidrv4().default("10.60.0.0/16"),
    zone: z.string().default("eu-central"),
  }),
  ssh: z.strictObject({ port: port.default(22) }).prefault({}),
  tailnet: z
    .strictObject({
      client_id: z.string().min(1),
      client_secret: secret,
      api_url: url.default("https://api.tailscale.com/api/v2"),
      control_url: url.nullable().default(null),
      tags: z.array(tag).min(1).default(["tag:claw-vm"]),
      rehearsal_tags: z.array(tag).min(1).default(["tag:claw-pool"]),
      key_stock: z.int().min(0).max(20).default(2),
    })
    .nullable()
    .default(null),
  prepare: z
    .strictObject({
      playbook: z
        .string()
        .nullable()
        .default(null)
        .describe("default: the playbook that comes with clawpool"),
      collections_path: z.string().nullable().default(null),
      vars: z.record(z.string(), z.unknown()).default({}),
    })
    .prefault({}),
  agent: z
    .strictObject({
      model: z.string().min(1).max(200).default("openai/gpt-6-astra"),
      gateway_port: port.default(18_789),
    })
    .prefault({}),
  sealing_keys: z.array(secret).min(1).describe("32 bytes in base64 each; the first seals, all open"),
  backup: z
    .strictObject({
      directory: z
        .string()
        .startsWith("/", "want an absolute path")
        .nullable()
        .default(null)
        .describe("default: backups in state_dir, which does not outlive its disk"),
      every: duration.default(units.h).describe('"0s" makes none; `clawpool backup` always does'),
      keep: z.int().min(1).max(10_000).default(48).describe("so many of the newest"),
    })
    .prefault({})
    .describe("backups of the store, terraform's states and the sealed records"),
  log: z.strictObject({ level: z.enum(["debug", "info", "warn", "error"]).default("info") }).prefault({}),
});

export type ConfigFile = z.output<typeof shape>;

/** For editors: `# yaml-language-server: $schema=…`. Defaults are shown as one writes them. */
export function jsonSchema(): unknown {
  return z.toJSONSchema(shape, {
    io: "input",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema: node }) => {
      const { def } = zodSchema._zod;
      // zod leaves the default of what it transforms out.
      if (def.type === "default" && node.pattern === durationPattern.source) {
        node.default = durationText(Number((def as z.core.$ZodDefaultDef).defaultValue));
      }
    },
  });
}

import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import { jsonSchema } from "../config/shape.ts";
import { newSealingKey } from "../secrets/seal.ts";

const template = (
  stateDir: string,
  secrets: string,
  instance: string,
): string => `# yaml-language-server: $schema=./clawpool.schema.json
# clawpool config check   says whether this file is usable
# clawpool doctor         says whether everything it names can be reached

instance: ${instance} # in labels and machine names; several installations may share a Hetzner project
state_dir: ${stateDir}

plans:
  small: { price: price_REPLACE_ME } # the Stripe price that buys it

pools:
  small-eu:
    plan: small
    regions: [eu-central] # fsn1, nbg1, hel1 in this order
    server_type: cx23
    min_ready: 2
    max_total: 10

max_total: 10 # of all pools together; Hetzner's own limit for new accounts is 5

api:
  listen: 127.0.0.1:8080 # put your TLS proxy in front
  public_url: https://clawpool.example
  tokens: [{ file: ${secrets}/api.token }]
  # operators: { ada: { file: ${secrets}/ada.token } } # people who may start failed orders again

stripe:
  key: { file: ${secrets}/stripe.key }
  webhook_secrets: [{ file: ${secrets}/stripe.webhook }]
  success_url: https://shop.example/thanks
  cancel_url: https://shop.example/cart

hetzner:
  token: { file: ${secrets}/hetzner.token }

network:
  ssh_from: [203.0.113.7/32] # REPLACE: the address that this controller connects from

tailnet:
  client_id: REPLACE_ME
  client_secret: { file: ${secrets}/tailscale.secret }

# Who is told what needs a person, and the web app, which then need not ask (docs/notify.md). \`clawpool notify test\` tries it.
# notify:
#   operators:
#     mail: { to: [ops@example.com] }
#     callback: { url: https://alerts.example/clawpool, secrets: [{ file: ${secrets}/operators.webhook }] }
#   product:
#     callback: { url: https://shop.example/clawpool, secrets: [{ file: ${secrets}/product.webhook }] }
#   smtp: { host: smtp.example.com, user: clawpool, password: { file: ${secrets}/smtp.password }, from: clawpool@example.com }

sealing_keys: [{ file: ${secrets}/sealing.key }]
`;

/** `clawpool init`: a commented file and the secrets that we can make ourselves; nothing that exists is touched. */
export function registerInit(program: Command): void {
  program
    .command("init")
    .description("write a commented clawpool.yaml and the secrets that can be made here")
    .option("--state-dir <dir>", "where state goes", "/var/lib/clawpool")
    .option("--secrets <dir>", "where secrets go", "/etc/clawpool")
    .option("--instance <name>", "name of this installation", "main")
    .action((options: { stateDir: string; secrets: string; instance: string }) => {
      const file = resolve(program.opts().config);
      if (existsSync(file)) throw new Error(`${file} exists; move it away first, it is not overwritten`);
      const secrets = resolve(options.secrets);
      mkdirSync(secrets, { recursive: true, mode: 0o700 });
      mkdirSync(options.stateDir, { recursive: true, mode: 0o700 });
      const made: string[] = [];
      const put = (name: string, text: string) => {
        const path = join(secrets, name);
        if (existsSync(path)) return;
        writeFileSync(path, `${text}\n`, { mode: 0o600 });
        made.push(path);
      };
      put("sealing.key", newSealingKey().expose());
      put("api.token", randomBytes(32).toString("base64url"));
      const schema = join(dirname(file), "clawpool.schema.json");
      writeFileSync(schema, `${JSON.stringify(jsonSchema(), null, 2)}\n`);
      made.push(schema);
      writeFileSync(file, template(resolve(options.stateDir), secrets, options.instance));
      chmodSync(file, 0o640);
      console.log(`wrote ${[file, ...made].join(", ")}`);
      console.log("Next:");
      console.log(
        `  1. put ${["hetzner.token", "stripe.key", "stripe.webhook", "tailscale.secret"].join(", ")} into ${secrets} (mode 0600)`,
      );
      console.log(`  2. replace what says REPLACE in ${file}`);
      console.log("  3. clawpool doctor");
      console.log(`Keep a copy of ${join(secrets, "sealing.key")}: without it the store's secrets are lost.`);
    });
}

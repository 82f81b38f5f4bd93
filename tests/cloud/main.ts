/**
 * `npm run cloud`: the local cloud alone, until Ctrl-C, with a clawpool.yaml that uses it:
 * `node bin/clawpool.mjs -c FILE serve`.
 */
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startLocalCloud } from "./local-cloud.ts";

const { values } = parseArgs({
  options: {
    machines: {
      type: "string",
      default: process.getuid?.() === 0 && process.platform === "linux" ? "nspawn" : "process",
    },
    dir: { type: "string" },
    listen: { type: "string", default: "127.0.0.1:8080" },
    realistic: { type: "boolean", default: false },
    speed: { type: "string" },
    seed: { type: "string" },
  },
});
if (values.machines !== "nspawn" && values.machines !== "process") {
  throw new Error(`--machines=${values.machines}: want nspawn or process`);
}
const number = (name: "speed" | "seed"): Record<string, number> => {
  const text = values[name];
  if (text === undefined) return {};
  if (!(Number(text) > 0)) throw new Error(`--${name}=${text}: want a number above 0`);
  return { [name]: Number(text) };
};

const ended = new Promise<void>((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve());
});
const cloud = await startLocalCloud({
  machines: values.machines,
  dir: values.dir ?? (await mkdtemp(join(tmpdir(), "clawpool-cloud-"))),
  profile: values.realistic ? "realistic" : "fast",
  ...number("speed"),
  ...number("seed"),
  onProgress: (text) => console.log(text),
  onMail: ({ to, subject }) => console.log(`mail to ${to.join(", ")}: ${subject}`),
});
const { configFile, apiToken } = await cloud.writeConfig({ listen: values.listen });
cloud.stripe.setWebhook(`http://${values.listen}/webhooks/stripe`);
console.log(`
Hetzner     ${cloud.hetzner.endpoint}   (bill: /_local/bill, calls: /_local/calls, faults: /_local/faults)
Tailscale   ${cloud.tailscale.apiUrl}, control ${cloud.tailscale.controlUrl}
Stripe      ${cloud.stripe.apiUrl}   (pay page: checkout_url; console and faults: /_local)
Model       ${cloud.model.url}
Mail        ${cloud.mail.url}
Config      ${configFile}
API token   ${apiToken}

node bin/clawpool.mjs -c ${configFile} serve
Ctrl-C ends it all.`);
await ended;
await cloud.stop();

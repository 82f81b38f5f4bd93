import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { assembleDocument } from "../hetzner/openapi/document.ts";
import { loadExtract, loadRequests } from "../hetzner/openapi/extract.ts";
import { publicKey } from "../hetzner/rig.ts";
import type { Body } from "../hetzner/views.ts";
import type { ClientRig } from "./rig.ts";

export interface SchemathesisRun {
  /** 0: it found nothing. */
  readonly exitCode: number;
  /** What it prints: its findings, with a curl for each. */
  readonly output: string;
  /** Requests that it made up and judged, and how many operations it tried. */
  readonly cases: number;
  readonly operations: number;
}

/** Everything that judges an answer; the others judge what an API ought to accept or refuse. */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
];

/**
 * Lets schemathesis loose on the emulator, with Hetzner's own description if CLAWPOOL_HETZNER_OPENAPI names it, else
 * with the extract of it.
 *
 * @param bin folder of schemathesis
 * @param dir for its input and what it notes
 * @param seconds it tries everything it knows and goes on for that long; null: three requests an operation, which
 *   take it 6 s of one core
 */
export async function runSchemathesis(
  { hetzner }: ClientRig,
  { bin, dir, seconds }: { readonly bin: string; readonly dir: string; readonly seconds: number | null },
): Promise<SchemathesisRun> {
  const official = process.env.CLAWPOOL_HETZNER_OPENAPI;
  const document = join(dir, "openapi.json");
  const described = official ? await emulatedPart(official) : assembleDocument(loadExtract(), loadRequests());
  await writeFile(document, JSON.stringify(described));
  const config = join(dir, "schemathesis.toml");
  await writeFile(config, configuration(await makeResources(hetzner.endpoint, hetzner.token)));
  const result = await execa(
    join(bin, "schemathesis"),
    [
      ...["--config-file", config, "run", document, "--url", hetzner.endpoint],
      ...[
        "--checks",
        checks.join(","),
        "--continue-on-failure",
        "--seed",
        "1",
        "--warnings",
        "off",
        "--no-color",
      ],
      ...(seconds === null ? quickly : thoroughly(seconds, official !== undefined)),
    ],
    { cwd: dir, env: { HCLOUD_TOKEN: hetzner.token }, reject: false, all: true, stdin: "ignore" },
  );
  const output = result.all ?? "";
  const [, cases = "0"] = /^\s*(\d+) generated/m.exec(output) ?? [];
  const [, operations = "0"] = /^\s*Tested: (\d+)/m.exec(output) ?? [];
  return {
    exitCode: result.exitCode ?? -1,
    output,
    cases: Number(cases),
    operations: Number(operations),
  };
}

const quickly = ["--phases", "fuzzing", "--max-examples", "3"];

const thoroughly = (seconds: number, hasExamples: boolean) => [
  ...["--phases", `${hasExamples ? "examples," : ""}coverage,fuzzing,stateful`],
  ...["--max-examples", "20", "--max-time", String(seconds)],
];

/** Hetzner's description without the operations that the emulator leaves out. */
async function emulatedPart(file: string): Promise<unknown> {
  const description = JSON.parse(await readFile(file, "utf8")) as {
    paths: Record<string, Record<string, unknown>>;
  };
  for (const operation of loadRequests().leftOut) {
    const [method = "", path = ""] = operation.split(" ");
    delete description.paths[path]?.[method.toLowerCase()];
  }
  return description;
}

/** Made-up ids meet nothing: every path but those of DELETE gets the id of something that exists. */
function configuration(ids: Readonly<Record<string, number>>): string {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: schemathesis puts the variable in, so that no file holds the token
  const head = 'headers = { Authorization = "Bearer ${HCLOUD_TOKEN}" }\n';
  const operations = Object.entries(ids).map(
    ([collection, id]) =>
      `\n[[operations]]\ninclude-path-regex = "^/${collection}/.id."\nexclude-method = "DELETE"\n` +
      `parameters = { "path.id" = ${id} }\n`,
  );
  return head + operations.join("");
}

/** One of each kind. @returns their ids by the first part of their paths */
async function makeResources(endpoint: string, token: string): Promise<Record<string, number>> {
  const post = async (path: string, body: unknown): Promise<Body> => {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetch(`${endpoint}${path}`, {
      method: "POST",
      headers,
      body: JSON.stringify(body),
    });
    const answer = (await response.json()) as Body;
    if (!response.ok) throw new Error(`POST ${path}: ${JSON.stringify(answer)}`);
    return answer;
  };
  const subnets = [{ type: "cloud", network_zone: "eu-central", ip_range: "10.0.0.0/24" }];
  const network = (await post("/networks", { name: "n", ip_range: "10.0.0.0/16", subnets })).network.id;
  const location = "hel1";
  const { server, action } = await post("/servers", {
    ...{ name: "m", server_type: "cx23", image: "debian-12", location, start_after_create: false },
  });
  const key = await post("/ssh_keys", { name: "k", public_key: publicKey("a") });
  const firewall = await post("/firewalls", { name: "f" });
  const group = await post("/placement_groups", { name: "g", type: "spread" });
  const address = await post("/primary_ips", { name: "p", type: "ipv4", location, assignee_type: "server" });
  const floating = await post("/floating_ips", { type: "ipv4", home_location: location });
  const volume = await post("/volumes", { name: "v", size: 10, location });
  const { image } = await post(`/servers/${server.id}/actions/create_image`, { type: "snapshot" });
  return {
    ...{ ssh_keys: key.ssh_key.id, networks: network, firewalls: firewall.firewall.id },
    ...{ placement_groups: group.placement_group.id, primary_ips: address.primary_ip.id },
    ...{ floating_ips: floating.floating_ip.id, volumes: volume.volume.id },
    ...{ servers: server.id, actions: action.id, images: image.id },
    ...{ locations: 1, datacenters: 2, server_types: 114, isos: 8637 },
  };
}

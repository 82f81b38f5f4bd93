import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { stackFolder } from "../../pool/terraform/folders.ts";
import { synthMachine, synthPlatform } from "../../pool/terraform/synth.ts";
import { literal } from "../../pool/terraform/template.ts";
import { machineInput, platformInput } from "./rig.ts";

const ids = { sshKey: 11, firewall: 12, network: 13, placementGroups: [14, 15] };
type Json = { [key: string]: Json } & Json[] & string;

describe("synthesized stacks", () => {
  let root: string;
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "clawpool-synth-"));
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const read = async (folder: string): Promise<Json> =>
    JSON.parse(await readFile(join(folder, "cdk.tf.json"), "utf8")) as Json;

  it("pin the provider exactly and keep the state beside the configuration", async () => {
    const folder = await synthMachine(root, machineInput(ids));
    const { terraform } = await read(folder);
    assert.deepEqual(terraform?.required_providers?.hcloud, {
      source: "hetznercloud/hcloud",
      version: "1.68.0",
    });
    assert.equal(terraform?.backend?.local?.path, join(folder, "terraform.tfstate"));
    assert.equal((await stat(join(folder, "cdk.tf.json"))).mode & 0o077, 0);
  });

  it("configure neither token nor endpoint", async () => {
    const { provider } = await read(await synthMachine(root, machineInput(ids)));
    assert.deepEqual(provider?.hcloud, [{ poll_function: "constant", poll_interval: "200ms" }]);
  });

  it("never replace a living machine for a new image, key or user data", async () => {
    const { resource } = await read(await synthMachine(root, machineInput(ids)));
    const server = resource?.hcloud_server?.server;
    assert.deepEqual(server?.lifecycle?.ignore_changes, ["image", "ssh_keys", "user_data", "public_net"]);
    assert.equal(server?.placement_group_id, 15);
    assert.deepEqual(server?.firewall_ids, [12]);
  });

  it("open the platform's firewall for SSH from the controller, for Tailscale and for ping", async () => {
    const { resource } = await read(await synthPlatform(root, platformInput));
    const anywhere = ["0.0.0.0/0", "::/0"];
    assert.deepEqual(resource?.hcloud_firewall?.firewall?.rule, [
      { direction: "in", protocol: "tcp", port: "22", source_ips: ["203.0.113.7/32"] },
      { direction: "in", protocol: "udp", port: "41641", source_ips: anywhere },
      { direction: "in", protocol: "icmp", source_ips: anywhere },
    ]);
    assert.equal(Object.keys(resource?.hcloud_placement_group ?? {}).length, 2);
  });

  it("contain no template that came with an input", async () => {
    const piece = fc.constantFrom(
      "$",
      "%",
      "{",
      "}",
      "$" + '{file("/etc/passwd")}',
      "%" + "{ if true }",
      "a",
      "\n",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const userData = pieces.join("");
        const { resource } = await read(await synthMachine(root, { ...machineInput(ids), userData }));
        const written = String(resource?.hcloud_server?.server?.user_data ?? "");
        // What terraform takes for a template: a $ or % directly before a brace and not doubled.
        const unescaped = written.replaceAll("$" + "${", " ").replaceAll("%%{", " ");
        assert.ok(!/[$%]\{/.test(unescaped), written);
      }),
      { numRuns: 60 },
    );
  });

  it("leave a text without template signs as it is", () => {
    for (const text of ["", "$", "{}", "100%", "$ {x}", "a\nb"]) assert.equal(literal(text), text);
  });

  for (const name of [
    "..",
    "../x",
    "a/b",
    "A",
    "1",
    "",
    "a b",
    "a.b",
    `a${"b".repeat(60)}`,
    "a\n",
    "-a",
    "a-",
  ]) {
    it(`refuse the name ${JSON.stringify(name)}`, () => {
      assert.throws(() => stackFolder(root, name), { code: "bad-name" });
    });
  }

  it("refuse a placement group that the platform does not have", async () => {
    await assert.rejects(
      synthMachine(root, { ...machineInput(ids), placementGroup: 2 }),
      /placement group 2 of 2/,
    );
  });

  it("leave the library's global token map as it was", async () => {
    const tokens = () => {
      const map = (globalThis as { __cdktfTokenMap?: { stringTokenMap: Map<string, unknown> } })
        .__cdktfTokenMap;
      return map?.stringTokenMap.size ?? 0;
    };
    await synthMachine(root, machineInput(ids));
    const before = tokens();
    for (let round = 0; round < 20; round++)
      await synthMachine(root, machineInput(ids, `claw-${"abcdefghijklmnopqrst"[round]}`));
    assert.equal(tokens(), before);
  });
});

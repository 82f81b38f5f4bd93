import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Replay, scenario, spelled } from "./replay.ts";
import { openTerraformFolder, type TerraformFolder, token } from "./terraform-folder.ts";

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDAC9VU7APDnCCvX5QiSQ9WLytTvRbUo/soPk0znodl test";
const serverLabels = { "managed-by": "poold", pool: "small" };

interface Settings {
  readonly firewalls: number;
  readonly server: Readonly<Record<string, unknown>> | null;
}

/** The configuration that was recorded: one key, one server, and a firewall or none. */
function configuration({ firewalls, server }: Settings) {
  return {
    resource: {
      hcloud_ssh_key: { k: { name: "pool-key", public_key: publicKey, labels: { "managed-by": "poold" } } },
      hcloud_firewall: {
        f: {
          count: firewalls,
          name: "pool-fw",
          labels: { "managed-by": "poold" },
          rule: [{ direction: "in", protocol: "tcp", port: "22", source_ips: ["0.0.0.0/0", "::/0"] }],
        },
      },
      ...(server
        ? {
            hcloud_server: {
              s: {
                name: "m-0001",
                server_type: "cx23",
                image: "ubuntu-24.04",
                location: "fsn1",
                ssh_keys: ["$" + "{hcloud_ssh_key.k.id}"],
                user_data: "#cloud-config\npackages: [git]\n",
                labels: serverLabels,
                firewall_ids: "$" + "{hcloud_firewall.f[*].id}",
                ...server,
              },
            },
          }
        : {}),
    },
  };
}

class Stack {
  readonly replay = new Replay();
  #folder: TerraformFolder | null = null;

  get folder(): TerraformFolder {
    assert.ok(this.#folder, "the stack was not opened");
    return this.#folder;
  }

  async open(settings: Settings): Promise<void> {
    this.#folder = await openTerraformFolder(await this.replay.listen(), configuration(settings));
  }

  configure(settings: Settings): Promise<void> {
    return this.folder.configure(configuration(settings));
  }

  /** Runs the command while the scenario is played and holds plan, errors and requests against the recording. */
  async follows(name: string, args: readonly string[]): Promise<void> {
    const recorded = scenario(name);
    this.replay.play(recorded);
    const { diagnostics, changes, exitCode, text } = await this.folder.tell(args);
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    assert.deepEqual(
      errors.map(({ summary, detail, address }) => ({ summary: anyPort(summary), detail, address })),
      recorded.errors.map((error) => ({ ...error, summary: anyPort(error.summary) })),
      name,
    );
    assert.equal(exitCode, recorded.errors.length > 0 ? 1 : 0, text);
    assert.deepEqual(changes, [...recorded.changes].sort(), `${name}: the plan`);
    assert.deepEqual(
      inOrder(this.replay.seen),
      inOrder(recorded.calls.map(spelled)),
      `${name}: the requests`,
    );
  }

  /** `nothing`, or the server's id in the state, with `tainted` behind it if it is. */
  async server(): Promise<string> {
    const { resources } = await this.folder.readState();
    const instance = resources.find(({ type }) => type === "hcloud_server")?.instances[0];
    return instance ? [instance.attributes.id, instance.status].filter(Boolean).join(" ") : "nothing";
  }

  async close(): Promise<void> {
    await this.replay.close();
    await this.#folder?.close();
  }
}

const anyPort = (text: string): string => text.replace(/127\.0\.0\.1:\d+/, "127.0.0.1");

/**
 * Terraform works on resources that do not depend on each other at the same time, so their requests mix in any
 * order. What belongs to one resource keeps its order, and that is what is compared.
 */
function inOrder(calls: readonly string[]): Record<string, string[]> {
  const lanes: Record<string, string[]> = {};
  for (const call of calls) {
    const path = call.split(" ")[1] ?? "";
    const lane = path.startsWith("/v1/actions") ? path : (path.split(/[/?]/)[2] ?? "");
    lanes[lane] = [...(lanes[lane] ?? []), call];
  }
  return lanes;
}

describe("the hcloud provider in the mirror", function () {
  this.timeout(180_000);
  let stack: Stack;

  beforeEach(() => {
    stack = new Stack();
  });
  afterEach(() => stack.close());

  it("creates, refreshes, changes, resizes, replaces and destroys by the recorded requests", async () => {
    const first: Settings = { firewalls: 1, server: {} };
    await stack.open(first);
    await stack.follows("01-create", ["apply", "-auto-approve"]);
    assert.equal(await stack.server(), "1000004");
    await stack.follows("02-refresh", ["apply", "-refresh-only", "-auto-approve"]);
    await stack.follows("03-noop-plan", ["plan"]);
    await stack.follows("04-noop-apply", ["apply", "-auto-approve"]);
    const claimed = { ...serverLabels, claimed: "true" };
    await stack.configure({ firewalls: 1, server: { labels: claimed } });
    await stack.follows("05-label-change", ["apply", "-auto-approve"]);
    await stack.configure({ firewalls: 1, server: { labels: claimed, name: "tenant-7" } });
    await stack.follows("06-rename", ["apply", "-auto-approve"]);
    await stack.configure(first);
    await stack.follows("07-rename-and-label", ["apply", "-auto-approve"]);
    await stack.configure({ firewalls: 1, server: { server_type: "cx33", keep_disk: true } });
    await stack.follows("08-resize-keep-disk", ["apply", "-auto-approve"]);
    const resized = { server_type: "cpx22", keep_disk: false };
    await stack.configure({ firewalls: 1, server: resized });
    await stack.follows("09-resize-upgrade-disk", ["apply", "-auto-approve"]);
    await stack.configure({ firewalls: 0, server: resized });
    await stack.follows("10-firewall-remove", ["apply", "-auto-approve"]);
    await stack.configure({ firewalls: 0, server: { ...resized, image: "debian-12" } });
    await stack.follows("11-image-change-replace", ["apply", "-auto-approve"]);
    assert.equal(await stack.server(), "1000015");
    await stack.follows("12-destroy", ["destroy", "-auto-approve"]);
    assert.equal(await stack.server(), "nothing");
  });

  it("destroys server, key and firewall together", async () => {
    await stack.open({ firewalls: 1, server: {} });
    await stack.follows("01-create", ["apply", "-auto-approve"]);
    await stack.follows("13-destroy-all", ["destroy", "-auto-approve"]);
  });

  it("drops a vanished server from the state, after asking for one that is named like its id", async () => {
    await stack.open({ firewalls: 0, server: {} });
    await stack.follows("20-create-nofw", ["apply", "-auto-approve"]);
    await stack.follows("24-refresh-server-gone", ["plan"]);
    await stack.follows("25-destroy-server-gone", ["destroy", "-auto-approve"]);
  });

  /** A stack with the key in its state as the faults were recorded, and no server yet. */
  async function withKey(id: number): Promise<void> {
    await stack.open({ firewalls: 0, server: null });
    const keyOnly = scenario("29-key-only");
    stack.replay.play(keyOnly);
    await stack.folder.run(["apply", "-auto-approve"]);
    const file = join(stack.folder.dir, "terraform.tfstate");
    await writeFile(file, (await readFile(file, "utf8")).replaceAll('"1000071"', `"${id}"`));
    await stack.configure({ firewalls: 0, server: {} });
  }

  const refused = [
    "30-create-409-uniqueness",
    "31-create-412-resource_unavailable",
    "32-create-403-resource_limit_exceeded",
    "33-create-403-server_limit_reached",
    "34-create-422-placement_error",
    "35-create-422-invalid_input",
    "36-create-423-locked",
    "37-create-401",
    "38-create-403-token_readonly",
    "41-create-429-always",
    "42-create-429-bare",
    "43-create-409-conflict-always",
    "44-create-500-server_error",
    "45-create-500-bare",
    "46-create-502-bare-always",
    "47-create-503-unavailable",
    "48-create-503-bare",
    "49-create-504-bare-always",
    "51-create-504-after-commit",
    "52-create-drop-before-commit",
    "53-create-drop-after-commit",
  ];
  it("leaves nothing in the state when the order of a server failed", async () => {
    await withKey(1000001);
    for (const name of refused) {
      await stack.follows(name, ["apply", "-auto-approve"]);
      assert.equal(await stack.server(), "nothing", name);
    }
  });

  for (const [name, server] of [
    ["40-create-429-once", "1000002"],
    ["50-create-504-timeout-once", null],
    ["55-poll-429-once", "1000026"],
  ] as const) {
    it(`gets over ${name}`, async () => {
      await withKey(1000001);
      await stack.follows(name, ["apply", "-auto-approve"]);
      if (server) assert.equal(await stack.server(), server);
      else assert.match(await stack.server(), /^\d+$/);
    });
  }

  // Each second recording begins with that tainted server, gone by then.
  for (const [name, next, left] of [
    ["56-poll-500-once", "57-poll-drop-once", /^1000038$/],
    ["58-create-action-error", "59-image-404", /^nothing$/],
    ["60-final-get-503", null, /^\d+ tainted$/],
  ] as const) {
    it(`leaves the server tainted after ${name}`, async () => {
      await withKey(1000001);
      await stack.follows(name, ["apply", "-auto-approve"]);
      assert.match(await stack.server(), /^\d+ tainted$/);
      if (next) await stack.follows(next, ["apply", "-auto-approve"]);
      assert.match(await stack.server(), left);
    });
  }

  it("deletes a tainted server and buys another at the next apply", async () => {
    await withKey(1000071);
    await stack.follows("54-poll-503-once", ["apply", "-auto-approve"]);
    assert.equal(await stack.server(), "1000072 tainted");
    await stack.follows("54b-apply-after-taint", ["apply", "-auto-approve"]);
    assert.equal(await stack.server(), "1000078");
    await stack.follows("54z-destroy", ["destroy", "-auto-approve"]);
  });

  it("keeps the server in the state when a refresh or a deletion fails", async () => {
    await withKey(1000001);
    await stack.follows("61-create-ok", ["apply", "-auto-approve"]);
    await stack.follows("62-refresh-500", ["plan"]);
    await stack.follows("63-refresh-503-key", ["plan"]);
    await stack.follows("64-refresh-429-once", ["plan"]);
    for (const name of [
      "70-delete-423-locked",
      "71-delete-423-protected",
      "72-delete-404",
      "73-delete-503",
      "74-delete-drop-after-commit",
    ]) {
      await stack.follows(name, ["destroy", "-auto-approve"]);
      assert.equal(await stack.server(), "1000056", name);
    }
    await stack.follows("75-delete-again", ["destroy", "-auto-approve"]);
    assert.equal(await stack.server(), "nothing");
  });

  it("refuses a token that has not 64 characters", async () => {
    await stack.open({ firewalls: 0, server: null });
    const { exitCode, text } = await stack.folder.tell(["plan"], { env: { HCLOUD_TOKEN: token.slice(1) } });
    assert.equal(exitCode, 1);
    assert.match(text, /must be exactly 64 characters/);
  });
});

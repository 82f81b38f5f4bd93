/**
 * terraform-provider-hcloud 1.68.0's own acceptance tests, unmodified, against the emulator. They need the provider's
 * source, which no package registry has: without CLAWPOOL_PROVIDER_SOURCE, the path of a git checkout of tag v1.68.0,
 * this file defines no test at all. Go and terraform must be on PATH.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { MachineBackend } from "../machines/backend.ts";
import { createNspawnBackend } from "../machines/nspawn/backend.ts";
import { nullBackend } from "../machines/null.ts";
import { type Hetzner, startHetzner } from "./hetzner.ts";

/** Folders below internal/, with the number of tests that must pass. */
const packages = {
  sshkey: 3,
  placementgroup: 3,
  location: 2,
  datacenter: 2,
  servertype: 2,
  loadbalancertype: 2,
  network: 8,
  firewall: 8,
  volume: 9,
  floatingip: 6,
  primaryip: 8,
  image: 5,
  snapshot: 1,
  rdns: 5,
  server: 23,
} as const;

/** These download older releases of the provider from terraform's registry. */
const needsRegistry = "_RemoveDatacenter$|_UpgradePluginFramework$";
/** Logs in to a machine behind another one, so it needs machines. */
const needsMachines = "TestAccServerResource_PrivateNetworkBastion";
/** The suite skips these by itself: it has no vSwitch, and provider actions need terraform 1.14. */
const skippedBySuite = ["TestAccNetworkSubnetResource_VSwitch", "TestAccServerActions"];

const token = "A".repeat(64);
const source = process.env.CLAWPOOL_PROVIDER_SOURCE;

if (source) {
  describe("the real provider's acceptance tests", function () {
    // Compiling comes on top of the first runs.
    this.timeout(20 * 60_000);
    let terraform: string;
    before(async () => {
      const changes = await readFile(join(source, "CHANGELOG.md"), "utf8");
      assert.match(changes.slice(0, 200), /\[v1\.68\.0\]/, `${source} is no checkout of v1.68.0`);
      // The suite looks for it upwards from its folder, and at the root of the file system for ever.
      const git = await stat(join(source, ".git")).catch(() => null);
      assert.ok(git?.isDirectory(), `${source} has no folder .git: the suite needs a git checkout`);
      terraform = (await execa("sh", ["-c", "command -v terraform"])).stdout;
    });

    for (const [name, passing] of Object.entries(packages)) {
      it(`${name}: ${passing} pass, those left out that download an older provider`, () =>
        onEmulator(nullBackend(), async (hetzner) => {
          const skip = ["-skip", `${needsRegistry}|${needsMachines}`];
          const { passed, skipped, output } = await run(hetzner, name, skip);
          assert.equal(passed.length, passing, output);
          assert.deepEqual(
            skipped.filter((test) => !skippedBySuite.includes(test)),
            [],
          );
        }));
    }

    if (process.platform === "linux" && process.getuid?.() === 0) {
      it("server: logs in through a bastion to a machine that has only a private address", async () => {
        const stateDir = mkdtempSync("/var/tmp/clawpool-acceptance-");
        const backend = createNspawnBackend({ stateDir });
        try {
          await backend.start();
          await onEmulator(backend, async (hetzner) => {
            // The machines of nspawn are Debian's.
            const env = { TEST_IMAGE: "debian-12", TEST_IMAGE_ID: "114690389" };
            const { passed, output } = await run(hetzner, "server", ["-run", needsMachines], env);
            assert.deepEqual(passed, [needsMachines], output);
          });
        } finally {
          await backend.stop();
          rmSync(stateDir, { recursive: true });
        }
      });
    }

    /** @throws AssertionError with the suite's output when a test failed. */
    async function run(
      hetzner: Hetzner,
      name: string,
      select: readonly string[],
      env: Record<string, string> = {},
    ): Promise<{ passed: string[]; skipped: string[]; output: string }> {
      const options = ["-v", "-count=1", "-timeout=15m", "-parallel=8"];
      const only = select.includes("-run") ? [] : ["-run", "^TestAcc"];
      const result = await execa("go", ["test", ...options, ...only, ...select, `./internal/${name}`], {
        cwd: source,
        all: true,
        reject: false,
        env: {
          ...env,
          TF_ACC: "1",
          TF_ACC_TERRAFORM_PATH: terraform,
          CHECKPOINT_DISABLE: "1",
          HCLOUD_ENDPOINT: hetzner.endpoint,
          HCLOUD_TOKEN: token,
        },
      });
      const output = result.all;
      const ended = (how: string) =>
        [...output.matchAll(new RegExp(`^--- ${how}: (\\w+)`, "gm"))].map((match) => match[1] ?? "");
      assert.deepEqual(ended("FAIL"), [], output);
      assert.equal(result.exitCode, 0, output);
      return { passed: ended("PASS"), skipped: ended("SKIP"), output };
    }
  });
}

/** On the system clock: the suite is another process and polls. */
async function onEmulator(backend: MachineBackend, work: (hetzner: Hetzner) => Promise<void>): Promise<void> {
  const stateDir = mkdtempSync(join(tmpdir(), "clawpool-acceptance-"));
  const hetzner = await startHetzner({
    stateDir,
    backend,
    profile: "fast",
    tokens: [token],
    serverLimit: 500,
    requestsPerHour: 1_000_000,
  });
  try {
    await work(hetzner);
  } finally {
    await hetzner.close();
    rmSync(stateDir, { recursive: true });
  }
}

/** The platform's lost state on real terraform: refused, written back, imported; never a second network. */
import { strict as assert } from "node:assert";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { createBudget } from "../../pool/cloud/budget.ts";
import { createCloud } from "../../pool/cloud/hetzner.ts";
import { createPlatform, type Platform } from "../../pool/platform/platform.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";
import { type Life, startLife } from "../machine/fakes.ts";
import { startTerraformRig, type TerraformRig } from "./terraform-rig.ts";

describe("the platform's lost terraform state", function () {
  this.timeout(120_000);
  let rig: TerraformRig;
  let life: Life;
  let platform: Platform;
  const ada = { actor: "person:ada" };
  const wrote = () => rig.hetzner.calls().filter(({ method }) => method !== "GET");
  const change = (sshFrom: string) => {
    life.config = { ...life.config, network: { ...life.config.network, sshFrom: [sshFrom] } };
  };

  /** A daemon of an installation that has this store. */
  const daemonOf = ({ store }: Life, { instance = "test", terraform = rig.terraform } = {}) =>
    createPlatform({
      store,
      sealer: createSealer([newSealingKey()]),
      terraform,
      gate: rig.gate,
      cloud: createCloud({
        ...rig.bare,
        budget: createBudget({ requestsPerHour: 3_600, clock: rig.clock }),
        clock: rig.clock,
      }),
      config: () => ({ ...life.config, instance }),
      clock: rig.clock,
      random: systemRandom,
      log: pino({ level: "silent" }),
    });

  before(async () => {
    life = startLife();
    rig = await startTerraformRig({ profile: "fast" });
    const network = { sshFrom: ["0.0.0.0/0"], cidr: "10.0.0.0/16", zone: "eu-central" };
    life.config = { ...life.config, maxTotal: 40, network };
    platform = daemonOf(life);
  });
  after(async () => {
    life.store.close();
    await rig?.close();
  });

  it("is compared with Hetzner at first, and remembered", async () => {
    await platform.ensure();
    assert.deepEqual(wrote(), []);
    const known = life.store.terraformState("platform");
    assert.equal(known?.resources, 8, "key, firewall, network, subnet and four groups");
  });

  it("is refused and written back; what was due is changed in place then", async () => {
    await rm(rig.terraform.stateFile("platform"));
    change("192.0.2.0/24");
    await platform.ensure();
    assert.match(platform.waits() ?? "", /refused/);
    assert.deepEqual(wrote(), []);
    await platform.repair("restore", ada);
    assert.equal(platform.waits(), null);
    assert.deepEqual(
      wrote().map(({ method, path }) => `${method} ${path.replace(/\d{3,}/, "N")}`),
      ["POST /v1/firewalls/N/actions/set_rules"],
    );
  });

  it("is imported from what exists: the same ids, and nothing is made", async () => {
    const ids = platform.ids();
    const known = life.store.terraformState("platform");
    await rm(rig.terraform.stateFile("platform"));
    rig.hetzner.clearCalls();
    await platform.repair("import", ada);
    assert.deepEqual(wrote(), []);
    assert.deepEqual([platform.ids(), platform.waits()], [ids, null]);
    const anew = life.store.terraformState("platform");
    assert.notEqual(anew?.lineage, known?.lineage);
    assert.equal(anew?.resources, 8);
    assert.equal((await platform.look()).refused, null);
  });

  it("is found by its name when the store is lost as well, and imported: nothing is made", async () => {
    const ids = platform.ids();
    await rm(rig.terraform.stateFile("platform"));
    const anew = startLife();
    try {
      const daemon = daemonOf(anew);
      rig.hetzner.clearCalls();
      await daemon.ensure();
      assert.deepEqual(daemon.ids(), ids);
      assert.match(anew.store.flags()[0]?.text ?? "", /clawpool state import platform/);
      await daemon.repair("import", ada);
      assert.deepEqual([wrote(), daemon.waits(), anew.store.flags()], [[], null, []]);
    } finally {
      anew.store.close();
    }
  });

  it("goes on from a first apply that ended half way, and makes each part once", async () => {
    const anew = startLife();
    try {
      const terraform = createTerraform({
        root: join(rig.root, "half"),
        bin: "terraform",
        cliConfig: rig.cliConfig,
      });
      const daemon = daemonOf(anew, { instance: "half", terraform });
      rig.hetzner.faults.add({
        method: "POST",
        path: "/networks",
        times: 1,
        effect: { kind: "error", code: "resource_limit_exceeded", message: "no more networks" },
      });
      rig.hetzner.clearCalls();
      await assert.rejects(daemon.ensure(), { kind: "quota" });
      assert.match(anew.store.flags()[0]?.text ?? "", /could not be brought about: .*no more networks/s);
      assert.equal(daemon.isKnown(), false);
      await daemon.ensure();
      const made = wrote().filter(({ path, status }) => /^\/v1\/[a-z_]+$/.test(path) && status === 201);
      assert.deepEqual(made.map(({ path }) => path).sort(), [
        "/v1/firewalls",
        "/v1/networks",
        ...Array.from({ length: 4 }, () => "/v1/placement_groups"),
        "/v1/ssh_keys",
      ]);
      assert.deepEqual([daemon.waits(), anew.store.flags()], [null, []]);
    } finally {
      anew.store.close();
    }
  });
});

import { strict as assert } from "node:assert";
import { pino } from "pino";
import { createPlatform, type Platform } from "../pool/platform.ts";
import { systemRandom } from "../pool/random.ts";
import { createSealer, newSealingKey } from "../pool/secrets/seal.ts";
import type { PlatformStackInput } from "../pool/terraform/terraform.ts";
import { FakeTerraform, failedRun, type Life, startLife } from "./machine/fakes.ts";

const sealer = createSealer([newSealingKey()]);

/** As terraform: makes as many groups as it is told to. */
class PlatformTerraform extends FakeTerraform {
  readonly inputs: PlatformStackInput[] = [];
  override async applyPlatform(input?: PlatformStackInput) {
    const { result, ids } = await super.applyPlatform();
    if (!input) throw new Error("no input");
    this.inputs.push(input);
    return {
      result,
      ids: { ...ids, placementGroups: Array.from({ length: input.placementGroups }, (_, n) => n) },
    };
  }
}

describe("the platform", () => {
  let life: Life;
  let terraform: PlatformTerraform;
  let platform: Platform;
  const start = () =>
    createPlatform({
      store: life.store,
      sealer,
      terraform,
      gate: life.gate,
      config: () => life.config,
      random: systemRandom,
      log: pino({ level: "silent" }),
    });

  beforeEach(() => {
    life = startLife();
    terraform = new PlatformTerraform();
    platform = start();
  });
  afterEach(() => {
    assert.equal(life.gate.open, 0, "a run of the gate was left open");
    life.store.close();
  });

  it("is applied once, and remembered over restarts without a call", async () => {
    assert.throws(() => platform.ids(), /not applied yet/);
    await platform.ensure();
    const ids = platform.ids();
    await platform.ensure();
    const restarted = start();
    await restarted.ensure();
    assert.deepEqual(restarted.ids(), ids);
    assert.deepEqual(restarted.ids(), ids);
    assert.deepEqual(terraform.calls, ["platform"]);
    assert.deepEqual(life.gate.permits, [
      { kind: "platform", actor: "daemon", destroy: false, priority: "refill" },
    ]);
  });

  it("is told the controller's public key, always the same, whose private half is sealed", async () => {
    await platform.ensure();
    const [input] = terraform.inputs;
    assert.match(input?.controllerPublicKey ?? "", /^ssh-ed25519 AAAA/);
    assert.equal(start().inputs().controllerPublicKey, input?.controllerPublicKey);
    assert.ok(!life.store.setting("platform/controller-key")?.includes("PRIVATE KEY"));
  });

  it("is applied again when the configuration asks for more groups, and never loses one", async () => {
    const groups = async (maxTotal: number) => {
      life.config = { ...life.config, maxTotal };
      await platform.ensure();
      return platform.ids().placementGroups.length;
    };
    assert.equal(await groups(10), 1);
    assert.equal(await groups(11), 2);
    assert.equal(await groups(45), 5);
    assert.equal(await groups(5), 5, "machines may live in each of them");
    assert.equal(terraform.inputs.length, 3);
    platform = start();
    assert.equal(await groups(5), 5);
    assert.equal(terraform.inputs.length, 3);
  });

  it("is not remembered when it failed, and is tried again", async () => {
    terraform.nextResult = failedRun("unauthorized (unauthorized, abc)");
    await assert.rejects(platform.ensure(), { kind: "auth" });
    assert.throws(() => platform.ids(), /not applied yet/);
    await platform.ensure();
    assert.equal(platform.ids().placementGroups.length, 2);
    const rows = life.store.auditRows({ subject: "platform" });
    assert.deepEqual(
      rows.map(({ action, detail }) => [action, detail.ok]),
      [
        ["terraform.platform.begun", undefined],
        ["terraform.platform", false],
        ["terraform.platform.begun", undefined],
        ["terraform.platform", true],
      ],
    );
  });
});

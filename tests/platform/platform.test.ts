import { strict as assert } from "node:assert";
import { pino } from "pino";
import { minuteMs } from "../../pool/clock.ts";
import { createPlatform, type Platform } from "../../pool/platform/platform.ts";
import { systemRandom } from "../../pool/random.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import type { PlatformStackInput } from "../../pool/terraform/terraform.ts";
import { resourceOf } from "../machine/fake-cloud.ts";
import {
  FakeTerraform,
  failedRun,
  type Life,
  platformStateOf,
  startLife,
  stateOf,
} from "../machine/fakes.ts";

const sealer = createSealer([newSealingKey()]);

/** As terraform: makes as many groups as it is told to. */
class PlatformTerraform extends FakeTerraform {
  readonly inputs: PlatformStackInput[] = [];
  onApplied = () => {};
  override async applyPlatform(input?: PlatformStackInput) {
    const { result, ids } = await super.applyPlatform();
    if (!input) throw new Error("no input");
    this.inputs.push(input);
    if (result.ok) this.onApplied();
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
      cloud: life.cloud,
      config: () => life.config,
      clock: life.clock,
      random: systemRandom,
      log: pino({ level: "silent" }),
    });

  beforeEach(() => {
    life = startLife();
    life.cloud.hasPlatform = false;
    terraform = new PlatformTerraform();
    terraform.onApplied = () => {
      life.cloud.hasPlatform = true;
    };
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
    const rows = life.store
      .auditRows({ subject: "platform" })
      .filter(({ action }) => action.startsWith("terraform."));
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

  describe("that cannot be brought about", () => {
    const told = () => life.store.flags().filter(({ kind }) => kind === "platform-failed");
    const unavailable = () => failedRun("server error (service_error, abc)");

    it("is told at once when it does not pass by itself; builds wait, and what was made is known", async () => {
      await platform.ensure();
      life.config = { ...life.config, maxTotal: 45 };
      terraform.nextResult = failedRun("limit exceeded (resource_limit_exceeded, abc)");
      await assert.rejects(platform.ensure(), { kind: "quota" });
      assert.match(told()[0]?.text ?? "", /limit exceeded.*machines and claims go on, builds wait/);
      assert.match(platform.waits() ?? "", /could not be brought about/);
      assert.equal(platform.ids().placementGroups.length, 2);
      assert.ok(platform.isKnown());
      await platform.ensure();
      assert.deepEqual([told(), platform.waits()], [[], null]);
      assert.equal(platform.ids().placementGroups.length, 5);
    });

    it("is told after ten minutes when each failure may pass", async () => {
      for (let minutes = 0; minutes < 10; minutes++) {
        terraform.nextResult = unavailable();
        await assert.rejects(platform.ensure(), { kind: "transient" });
        assert.deepEqual(told(), [], `${minutes} min`);
        await life.clock.advance(minuteMs);
      }
      terraform.nextResult = unavailable();
      await assert.rejects(platform.ensure());
      assert.equal(told().length, 1);
      await platform.ensure();
      assert.deepEqual(told(), []);
    });
  });

  describe("that the store has forgotten", () => {
    const fresh = () => {
      life.cloud.hasPlatform = true;
      platform = start();
    };
    const ada = { actor: "person:ada" };
    const keyAtHetzner = "ssh-ed25519 AAAA shared";

    it("is taken from terraform's state, and then applied as it is", async () => {
      terraform.states.set("platform", platformStateOf());
      fresh();
      await platform.ensure();
      assert.deepEqual([platform.ids().network, platform.waits()], [3, null]);
      assert.deepEqual(
        terraform.inputs.map(({ controllerPublicKey }) => controllerPublicKey),
        ["ssh-ed25519 AAAA"],
      );
    });

    it("without a state either: known by Hetzner's names, not applied before a person imports it, with the key that is there", async () => {
      fresh();
      await platform.ensure();
      assert.deepEqual(platform.ids(), { sshKey: 1, firewall: 2, network: 3, placementGroups: [4] });
      assert.equal(platform.inputs().controllerPublicKey, keyAtHetzner);
      assert.match(life.store.flags()[0]?.text ?? "", /clawpool state import platform/);
      assert.match(platform.waits() ?? "", /refused/);
      assert.deepEqual(terraform.calls, []);
      await platform.repair("import", ada);
      assert.deepEqual(terraform.calls, ["put aside platform", "import platform 3", "platform"]);
      assert.deepEqual([life.store.flags(), platform.waits()], [[], null]);
    });

    it("in quarantine it is looked for, and nothing else is done", async () => {
      life.store.enterQuarantine("restored");
      fresh();
      await platform.ensure();
      assert.deepEqual([platform.ids().firewall, terraform.calls], [2, []]);
    });

    it("of which Hetzner has a part: a person is told what to make, and nothing is made beside it", async () => {
      const { resources } = life.cloud;
      life.cloud.resources = async (kind, selector) =>
        kind === "network" ? [] : resources.call(life.cloud, kind, selector);
      fresh();
      await assert.rejects(platform.ensure(), { code: "platform-incomplete" });
      assert.match(
        life.store.flags()[0]?.text ?? "",
        /no network called clawpool-test.*managed-by=clawpool and clawpool-instance=test/,
      );
      assert.ok(!platform.isKnown());
      assert.match(platform.waits() ?? "", /builds wait/);
      assert.deepEqual(terraform.calls, []);
      life.cloud.resources = resources;
      await platform.ensure();
      assert.equal(platform.ids().network, 3);
    });

    it("is not taken for another installation's, which a list shows all the same", async () => {
      const { resources } = life.cloud;
      const labels = { "managed-by": "clawpool", "clawpool-instance": "other" };
      life.cloud.resources = async (kind, selector) =>
        (await resources.call(life.cloud, kind, selector)).map((resource) => ({ ...resource, labels }));
      fresh();
      await platform.ensure();
      assert.deepEqual(terraform.calls, ["platform"]);
    });

    it("goes on from the state that a first apply left half way", async () => {
      const { shared } = platformStateOf();
      terraform.platform = async () => null;
      const half = platformStateOf({ shared: shared.slice(0, 1), resources: 1 });
      terraform.states.set("platform", half);
      fresh();
      await platform.ensure();
      assert.deepEqual(terraform.calls, ["platform"]);
    });
  });

  describe("whose terraform state is not what the last run left", () => {
    const known = () => life.store.terraformState("platform");
    const flags = () => life.store.flags().filter(({ subject }) => subject === "platform");
    const rows = (action: string) =>
      life.store.auditRows({ subject: "platform" }).filter((row) => row.action === action);
    const ada = { actor: "person:ada" };
    /** As in an installation whose ids and groups are those of the fake Hetzner. */
    const plain = () => {
      terraform = life.terraform as PlatformTerraform;
      platform = start();
    };
    const change = () => {
      const { network } = life.config;
      life.config = { ...life.config, network: { ...network, sshFrom: ["192.0.2.0/24"] } };
    };

    beforeEach(async () => {
      plain();
      await platform.ensure();
      life.cloud.hasPlatform = true;
    });

    it("is remembered after each run: lineage, serial, how much, and the whole of it", async () => {
      const { lineage, serial, resources, serverId, document } = known() ?? assert.fail();
      assert.deepEqual([lineage, serial, resources, serverId], ["p", 1, 5, null]);
      assert.equal(JSON.parse(document).lineage, "p");
      change();
      await platform.ensure();
      assert.deepEqual([known()?.serial, platform.waits(), flags()], [2, null, []]);
    });

    for (const [what, spoil, why] of [
      [
        "missing",
        () => terraform.states.delete("platform"),
        /the file is missing; expected lineage p, serial 1/,
      ],
      ["empty", () => terraform.states.set("platform", stateOf(null, { empty: true })), /the file is empty/],
      ["damaged", () => terraform.unreadable.add("platform"), /it is not a terraform state/],
      ["older", () => terraform.states.set("platform", platformStateOf({ serial: 0 })), /its serial is 0/],
      [
        "another's",
        () => terraform.states.set("platform", platformStateOf({ lineage: "x" })),
        /its lineage is x/,
      ],
      [
        "smaller",
        () => terraform.states.set("platform", platformStateOf({ resources: 3 })),
        /it has 3 resources/,
      ],
      [
        "newer, and does not know what exists",
        () => terraform.states.set("platform", platformStateOf({ serial: 2, shared: [], resources: 0 })),
        /it does not know ssh_key 1, and ssh_key 1 exists/,
      ],
    ] as const) {
      it(`${what}: a person is told, nothing is applied, what was made serves on, and builds wait when it has to change`, async () => {
        spoil();
        await platform.ensure();
        assert.match(flags()[0]?.text ?? "", why);
        assert.match(flags()[0]?.text ?? "", /clawpool state restore platform/);
        assert.equal(platform.waits(), null, "nothing has to change yet");
        change();
        platform = start();
        await platform.ensure();
        assert.match(platform.waits() ?? "", /terraform state is refused/);
        assert.equal(platform.ids().network, 3);
        assert.match((await platform.look()).refused ?? "", why);
        assert.deepEqual(terraform.calls, ["platform"]);
        await platform.repair("restore", ada);
        assert.deepEqual(terraform.calls, ["platform", "restore platform", "platform"]);
        assert.deepEqual([flags(), platform.waits(), (await platform.look()).refused], [[], null, null]);
        assert.equal(known()?.lineage, "p");
      });
    }

    it("is taken when it is newer, has what exists, and nothing of another's", async () => {
      terraform.states.set("platform", platformStateOf({ serial: 5 }));
      await platform.ensure();
      assert.deepEqual([known()?.serial, flags()], [5, []]);
      assert.equal(rows("terraform.state-accepted").length, 1);
      const theirs = resourceOf("firewall", 77, "web", { labels: {} });
      life.cloud.others.push(theirs);
      const { shared } = platformStateOf();
      terraform.states.set(
        "platform",
        platformStateOf({ serial: 6, shared: [...shared, { kind: "firewall", id: 77 }] }),
      );
      await platform.ensure();
      assert.match(
        flags()[0]?.text ?? "",
        /it is about firewall 77 \(web\), which is not this installation's/,
      );
      assert.equal(known()?.serial, 5);
    });

    it("is compared with Hetzner where a store from before remembers none", async () => {
      life.store.rememberState("platform", null);
      await platform.ensure();
      assert.equal(known()?.serial, 1);
      life.store.rememberState("platform", null);
      terraform.states.delete("platform");
      change();
      await platform.ensure();
      assert.match(flags()[0]?.text ?? "", /the file is missing, and ssh_key 1 exists/);
      assert.doesNotMatch(flags()[0]?.text ?? "", /state restore/);
      await assert.rejects(platform.repair("restore", ada), /no run has left a state of the platform/);
      assert.deepEqual(terraform.calls, ["platform"]);
    });

    it("is made anew from what exists by an import, and then applied", async () => {
      life.store.rememberState("platform", null);
      terraform.states.delete("platform");
      await platform.ensure();
      await platform.repair("import", ada);
      assert.deepEqual(terraform.calls, ["platform", "put aside platform", "import platform 3", "platform"]);
      assert.deepEqual([known()?.lineage, known()?.serial, flags()], ["imported", 8, []]);
      assert.equal(rows("terraform.import")[0]?.actor, "person:ada");
    });

    it("stays refused after an import that failed half way", async () => {
      terraform.states.delete("platform");
      terraform.nextResult = failedRun("unauthorized (unauthorized, abc)");
      await assert.rejects(platform.repair("import", ada), { kind: "auth" });
      await platform.ensure();
      assert.match(platform.waits() ?? "", /refused/);
      assert.deepEqual(terraform.calls, ["platform", "put aside platform", "import platform 3"]);
    });
  });
});

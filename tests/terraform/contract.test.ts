/** The contract on real terraform and the emulated API. */
import { cloudOf } from "../hetzner-client/cloud-of.ts";
import { type TerraformUnderTest, terraformContract } from "./contract.ts";
import { machineInput, platformInput, type Rig, startRig } from "./rig.ts";

describe("real terraform", function () {
  this.timeout(180_000);
  let rig: Rig;
  let subject: TerraformUnderTest;
  before(async () => {
    rig = await startRig();
    const { ids } = await rig.terraform.applyPlatform(platformInput, rig.access);
    const cloud = cloudOf(rig.hetzner);
    subject = {
      terraform: rig.terraform,
      input: (name) => machineInput(ids, name),
      access: () => rig.access,
      labels: async (id) => (await cloud.server(id))?.labels ?? null,
      failPoll() {
        const error = { code: "unavailable", message: "service unavailable" };
        const effect = { kind: "answer", status: 503, error } as const;
        rig.hetzner.faults.add({ method: "GET", path: "/servers/*", effect });
      },
      async vanish(id) {
        const authorization = `Bearer ${rig.hetzner.token}`;
        await fetch(`${rig.hetzner.endpoint}/servers/${id}`, {
          method: "DELETE",
          headers: { authorization },
        });
        while ((await cloud.server(id)) !== null);
      },
    };
  });
  after(() => rig?.close());

  terraformContract("the mirror's provider", () => subject);
});

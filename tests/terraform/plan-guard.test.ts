import { strict as assert } from "node:assert";
import { type PlannedResource, parseLogLine } from "../../pool/terraform/json-log.ts";
import { guardPlan } from "../../pool/terraform/plan-guard.ts";

const server = { name: "claw-a", serverId: 7 };
const attributes = { id: "7", name: "claw-a", labels: {}, server_type: "cx23", network: [] };
const planned = (
  actions: readonly string[],
  after: Record<string, unknown> | null = attributes,
  change: Partial<PlannedResource> = {},
): PlannedResource => ({
  address: "hcloud_server.server",
  actions,
  before: attributes,
  after,
  unknown: [],
  ...change,
});
const address = (type: string) => ({ address: `${type}.x` });

describe("the guard of plans for a machine with a customer", () => {
  const harmless: [string, PlannedResource[]][] = [
    ["nothing", [planned(["no-op"])]],
    ["labels", [planned(["update"], { ...attributes, labels: { a: "1" } })]],
    ["a list that is empty or not set", [planned(["update"], { ...attributes, network: null })]],
    [
      "what only the apply will tell",
      [planned(["update"], { ...attributes, status: null }, { unknown: ["status"] })],
    ],
    [
      "reading",
      [planned(["no-op"]), planned(["read"], null, { ...address("data.hcloud_image"), before: null })],
    ],
  ];
  for (const [what, resources] of harmless) {
    it(`allows ${what}`, () => guardPlan(server, resources));
  }

  const refused: [string, PlannedResource[] | null, RegExp][] = [
    ["a deletion", [planned(["delete"], null)], /it would delete hcloud_server\.server/],
    ["a replacement", [planned(["delete", "create"])], /it would delete and create hcloud_server/],
    ["a replacement that creates first", [planned(["create", "delete"])], /it would create and delete/],
    ["a second server", [planned(["create"], attributes, { before: null })], /it would create hcloud_server/],
    ["forgetting it", [planned(["forget"])], /it would forget hcloud_server/],
    ["an action that nobody knows", [planned(["polish"])], /it would polish/],
    [
      "the loss of a volume",
      [planned(["no-op"]), planned(["delete"], null, address("hcloud_volume"))],
      /delete hcloud_volume\.x/,
    ],
    [
      "the loss of an address",
      [planned(["no-op"]), planned(["delete"], null, address("hcloud_primary_ip"))],
      /delete hcloud_primary_ip\.x/,
    ],
    [
      "a change of anything else",
      [planned(["no-op"]), planned(["update"], {}, address("hcloud_firewall"))],
      /update hcloud_firewall\.x/,
    ],
    [
      "a resize",
      [planned(["update"], { ...attributes, server_type: "cx33" })],
      /it would change server_type/,
    ],
    [
      "an attribute that nobody knows",
      [planned(["update"], { ...attributes, new_thing: 1 })],
      /it would change new_thing/,
    ],
    [
      "another machine's server",
      [planned(["no-op"], attributes, { before: { ...attributes, id: "8", name: "claw-b" } })],
      /about server 8, not 7; it is about claw-b, not claw-a/,
    ],
    ["a state without the server", [], /it does not know hcloud_server\.server/],
    ["no plan", null, /no plan that could be read/],
  ];
  for (const [what, resources, why] of refused) {
    it(`refuses ${what}`, () => {
      assert.throws(() => guardPlan(server, resources), {
        code: "plan-refused",
        kind: "permanent",
        message: why,
      });
    });
  }

  it("reads what terraform shows of a plan, and takes what it does not understand for the worst", () => {
    const shown = {
      format_version: "1.2",
      planned_values: {},
      resource_changes: [
        {
          address: "hcloud_server.server",
          change: {
            actions: ["update"],
            before: { id: "7" },
            after: {},
            after_unknown: { status: true, labels: {} },
          },
        },
        { address: "hcloud_server.server" },
      ],
    };
    const line = parseLogLine(JSON.stringify(shown));
    assert.deepEqual(line, {
      type: "plan",
      resources: [
        {
          address: "hcloud_server.server",
          actions: ["update"],
          before: { id: "7" },
          after: {},
          unknown: ["status"],
        },
        { address: "hcloud_server.server", actions: ["unknown"], before: null, after: null, unknown: [] },
      ],
    });
    const { resource_changes: _none, ...without } = shown;
    assert.deepEqual(parseLogLine(JSON.stringify(without)), { type: "plan", resources: [] });
  });
});

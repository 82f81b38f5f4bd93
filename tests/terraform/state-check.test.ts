import { strict as assert } from "node:assert";
import { compareState, expectation, type KnownState } from "../../pool/terraform/state-check.ts";
import { stateOf } from "../machine/fakes.ts";

const known: KnownState = { lineage: "l", serial: 5, resources: 1, serverId: 7 };
const nothing: KnownState = { lineage: "l", serial: 2, resources: 0, serverId: null };
const found = (serverId: number | null, serial: number, lineage = "l") =>
  stateOf(serverId, { serial, lineage });
const empty = stateOf(null, { empty: true, serial: 0, lineage: "" });

describe("a state file", () => {
  const cases: readonly [
    string,
    KnownState | null,
    Parameters<typeof compareState>[1],
    number | null,
    string,
  ][] = [
    ["that no run has made", null, null, null, "as-known"],
    ["that a run made and did not fill", null, empty, null, "as-known"],
    ["that never knew the row's server", null, null, 7, "unmanaged"],
    ["that was made and never knew the row's server", null, empty, 7, "unmanaged"],
    ["in which nothing was made, though the row has a server", nothing, found(null, 2), 7, "unmanaged"],
    ["with a server that nobody heard of", null, found(9, 1), null, "ahead"],
    ["with the row's server, of a run whose end nobody heard", null, found(7, 1), 7, "ahead"],
    ["begun anew after a run that made nothing", nothing, found(7, 1, "m"), 7, "ahead"],
    ["begun anew, with nothing in it", nothing, found(null, 1, "m"), null, "as-known"],
    ["as the last run left it", known, found(7, 5), 7, "as-known"],
    ["that a person's command changed", known, found(7, 6), 7, "ahead"],
    ["that dropped the server", known, found(null, 6), 7, "ahead"],
    ["that is gone", known, null, 7, "state-missing"],
    ["that was emptied", known, empty, 7, "state-empty"],
    ["that is no state", known, "unreadable", 7, "state-unreadable"],
    ["that is no state, of a machine without one", null, "unreadable", null, "state-unreadable"],
    ["of an older backup", known, found(7, 4), 7, "state-older"],
    ["of an older backup without a server", known, found(null, 2), 7, "state-older"],
    ["older than the destroy", { ...nothing, serial: 6 }, found(7, 5), 7, "state-older"],
    ["of another lineage", known, found(7, 9, "m"), 7, "state-foreign"],
    ["of another lineage without a server", known, found(null, 9, "m"), 7, "state-foreign"],
    ["of another machine", known, found(8, 9, "m"), 7, "state-other-server"],
    ["of another machine, where none was known", null, found(8, 1, "m"), 7, "state-other-server"],
    ["edited to another server", known, found(8, 5), 7, "state-other-server"],
    ["edited to have fewer resources", known, found(null, 5), 7, "state-altered"],
  ];
  for (const [what, remembered, file, serverId, verdict] of cases) {
    it(`${what}: ${verdict}`, () => {
      const is = compareState(remembered, file, serverId);
      assert.equal(is.is === "refused" ? is.code : is.is, verdict);
    });
  }

  it("is described by what was expected of it", () => {
    assert.equal(expectation(known, 7), "lineage l, serial 5 or later, 1 resources, server 7");
    assert.equal(expectation(nothing, null), "lineage l, serial 2 or later, 0 resources, no server");
    assert.equal(expectation(null, 7), "server 7");
    assert.equal(expectation(null, null), "no server");
  });
});

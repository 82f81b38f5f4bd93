import { strict as assert } from "node:assert";
import type { CloudServer } from "../../pool/cloud/cloud.ts";
import type { Machine, MachineName, MachineState } from "../../pool/machine/machine.ts";
import type { Evidence } from "../../pool/recovery/judge.ts";
import { type Judged, settleRivals } from "../../pool/recovery/rivals.ts";

interface Told {
  readonly state?: MachineState;
  readonly since?: number;
  readonly order?: string | null;
  /** Of the server's label. */
  readonly label?: string;
  readonly gone?: boolean;
  readonly said?: Evidence["said"];
}

const machine = (name: string, { state = "handing-over", since = 10, order = "ord_1" }: Told) =>
  ({ name, state, stateSince: since, order, serverId: 7 }) as unknown as Machine;

function judged(name: string, told: Told = {}): Judged {
  const labels = told.label === undefined ? {} : { "clawpool-order": told.label };
  const server = told.gone ? null : ({ name, labels } as unknown as CloudServer);
  const said = told.said === undefined ? "unreachable" : told.said;
  const evidence = { name: name as MachineName, row: null, record: null, server, said };
  return { machine: machine(name, told), secrets: null, sure: true, text: "as written down", evidence };
}

const said = (done: boolean, order = "ord_1") => ({ order, generation: 1, done });

function settled(judgements: readonly Judged[], free: readonly Machine[] = []) {
  return settleRivals(judgements, free).map(({ machine: { name, state, order }, sure }) => ({
    name,
    state,
    order,
    sure,
  }));
}

describe("machines that are taken for one order's", () => {
  it("leave it to the better evidence, in either order, and the other is a person's", () => {
    const ladder: readonly Told[] = [
      { said: said(true), state: "claimed" },
      { label: "ord_1" },
      { said: said(false) },
      { state: "serving" },
      { since: 20 },
      { since: 15 },
      { gone: true, state: "serving", since: 30 },
    ];
    for (let better = 0; better < ladder.length - 1; better++) {
      const a = judged("a", ladder[better]);
      const b = judged("b", ladder[better + 1]);
      const isGone = ladder[better + 1]?.gone === true;
      const expected = [
        { name: "a", state: a.machine.state, order: "ord_1", sure: true },
        { name: "b", state: isGone ? "retiring" : "failed", order: null, sure: isGone },
      ];
      assert.deepEqual(settled([a, b]), expected, `step ${better}`);
      assert.deepEqual(settled([b, a]), expected.toReversed(), `step ${better}`);
    }
  });

  it("say whose the order is taken for", () => {
    const [, loser] = settleRivals([judged("a", { said: said(true) }), judged("b")], []);
    assert.equal(loser?.text, "as written down; order ord_1 is taken for a's");
    assert.equal(loser?.machine.reason, "order ord_1 is taken for a's");
  });

  it("do not take it from one that was released with it", () => {
    const free = [machine("free", { state: "serving" })];
    const [held] = settled([judged("a", { said: said(true) })], free);
    assert.deepEqual([held?.state, held?.order, held?.sure], ["failed", null, false]);
    // What is released and goes has no order to defend.
    const going = [machine("free", { state: "releasing" })];
    assert.equal(settled([judged("a")], going)[0]?.order, "ord_1");
  });

  it("are none when one of them only goes, or each has its own, or none", () => {
    const one = [
      judged("a", { state: "releasing" }),
      judged("b"),
      judged("c", { order: "ord_2" }),
      judged("d", { state: "ready", order: null }),
      judged("e", { state: "ready", order: null }),
    ];
    assert.deepEqual(settleRivals(one, []), one);
  });
});

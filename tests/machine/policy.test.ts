import { strict as assert } from "node:assert";
import fc from "fast-check";
import { BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import type { Machine } from "../../pool/machine/machine.ts";
import { backoffMs, verdict } from "../../pool/machine/policy.ts";

const machine = (attempts: number) => ({ attempts }) as Machine;
const error = (kind: BorderErrorKind, retryAfterMs?: number) =>
  new BorderError("x", { border: "cloud", kind, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });

const half = () => 0.5;

describe("the policy for errors", () => {
  const cases: readonly [BorderErrorKind, string, boolean?][] = [
    ["transient", "retry"],
    ["capacity", "next-location"],
    ["quota", "fail", true],
    ["auth", "fail", true],
    ["permanent", "fail", false],
  ];
  for (const [kind, wanted, alert] of cases) {
    it(`answers ${kind} with ${wanted}${alert ? " and an alert" : ""}`, () => {
      const decided = verdict(error(kind), machine(0), half);
      assert.equal(decided.do, wanted);
      if (decided.do === "fail") assert.equal(decided.alert, alert);
    });
  }

  it("gives up with an alert on an error that no border has classified: it is our own bug", () => {
    assert.deepEqual(verdict(new TypeError("x"), machine(0), half), { do: "fail", alert: true });
  });

  it("waits 2, 4, 8, 16 … seconds ± 20 %, at most a minute, and never less than it was asked to", () => {
    fc.assert(
      fc.property(
        fc.nat(30),
        fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
        (attempts, random) => {
          const base = Math.min(2_000 * 2 ** attempts, 60_000);
          const pause = backoffMs(attempts, () => random);
          assert(pause >= base * 0.8 - 1 && pause <= base * 1.2 + 1);
        },
      ),
    );
    const decided = verdict(error("transient", 90_000), machine(0), half);
    assert(decided.do === "retry" && decided.afterMs >= 90_000);
  });
});

import { strict as assert } from "node:assert";
import fc from "fast-check";
import { type Border, BorderError, type BorderErrorKind } from "../../pool/errors.ts";
import type { Machine, MachineState } from "../../pool/machine/machine.ts";
import { backoffMs, verdict } from "../../pool/machine/policy.ts";

const machine = (attempts: number, state: MachineState = "creating", serverId: number | null = null) =>
  ({ attempts, state, serverId }) as Machine;
const error = (kind: BorderErrorKind, retryAfterMs?: number, border: Border = "cloud") =>
  new BorderError("x", { border, kind, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });

const half = () => 0.5;

describe("the policy for errors", () => {
  const all: readonly Border[] = ["cloud", "terraform", "ssh", "ansible", "machine", "tailnet", "stripe"];
  const failed = { do: "fail", alert: false, charged: true, again: true, freeze: null };

  for (const border of all) {
    const isElsewhere = border === "stripe" || border === "tailnet";
    const isOneMachine = border === "ssh" || border === "ansible" || border === "machine";
    const account = border === "tailnet" ? "tailnet" : border === "stripe" ? null : "cloud";

    it(`tries a transient error of ${border} again${isElsewhere ? ", at no cost to the machine" : ""}`, () => {
      const decided = verdict(error("transient", undefined, border), machine(0), half);
      assert.deepEqual(
        decided,
        isElsewhere ? { do: "wait", afterMs: 2_000, freeze: null } : { do: "retry", afterMs: 2_000 },
      );
    });

    for (const kind of ["quota", "auth"] as const) {
      it(`answers ${kind} of ${border} for ${isOneMachine ? "that machine alone" : "the whole account"}`, () => {
        const freeze = account && { border: account, kind };
        const [bought, not] = [machine(0, "proving", 7), machine(0)].map((of) =>
          verdict(error(kind, undefined, border), of, half),
        );
        if (isOneMachine) return assert.deepEqual([bought, not], [failed, failed]);
        assert.deepEqual(bought, { do: "wait", afterMs: 2_000, freeze });
        assert.deepEqual(not, { ...failed, charged: false, freeze });
      });
    }

    it(`gives up at a permanent error of ${border}${isElsewhere ? ", and tries no other machine" : ""}`, () => {
      const decided = verdict(error("permanent", undefined, border), machine(0), half);
      assert.deepEqual(decided, { ...failed, again: !isElsewhere });
    });
  }

  it("goes to the next offer when there is no capacity", () => {
    assert.deepEqual(verdict(error("capacity"), machine(0), half), { do: "next-offer" });
    const bought = { ...machine(0), serverId: 7 };
    assert.equal(verdict(error("capacity"), bought, half).do, "retry", "a server is where it is");
  });

  it("tries a hand-over three times, at once, for a customer waits", () => {
    const cut = error("transient", undefined, "machine");
    const [first, second, third] = [0, 1, 2].map((tries) =>
      verdict(cut, machine(tries, "handing-over", 7), half),
    );
    assert.deepEqual(
      [first, second, third],
      [{ do: "retry", afterMs: 100 }, { do: "retry", afterMs: 100 }, failed],
    );
  });

  it("gives up with an alert on an error that no border has classified: it is our own bug", () => {
    assert.deepEqual(verdict(new TypeError("x"), machine(0), half), { ...failed, alert: true });
  });

  it("tries again what this host had no file handle, process or room for", () => {
    for (const code of ["EMFILE", "EAGAIN", "ENOMEM", "ENOSPC"]) {
      const cause = Object.assign(new Error(`${code}: x`), { code });
      for (const scarcity of [cause, new Error("cannot start terraform", { cause })])
        assert.deepEqual(verdict(scarcity, machine(1), half), { do: "retry", afterMs: 4_000 });
    }
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

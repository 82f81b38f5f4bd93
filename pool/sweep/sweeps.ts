/** Every comparison with what others have, wired by hand: what looks when, and what a person may have looked at now. */
import type { Logger } from "pino";
import type { Borders } from "../borders.ts";
import { type Clock, minuteMs } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { MachineName } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";
import type { PlatformIds } from "../terraform/terraform.ts";
import { createBillSweep } from "./bill.ts";
import { createCloudSweep } from "./cloud.ts";
import { createDeletions } from "./deletions.ts";
import { createSchedule, type ScheduledSweep, type SweepSchedule } from "./schedule.ts";
import type { StripeSweep } from "./stripe.ts";
import type { Sweep, SweepName, SweepReport, SweepRequest } from "./sweep.ts";
import { createTailnetSweep } from "./tailnet.ts";
import { createTerraformSweep } from "./terraform.ts";

/** This installation has nothing of that sort. */
export class NoSweepError extends Error {
  override readonly name = "NoSweepError";
}

export interface Sweeps extends SweepSchedule {
  /**
   * A look now, behind the one that may be under way.
   *
   * @throws BorderError when the other side cannot be asked, nothing is concluded then; NoSweepError
   */
  reconcile(name: SweepName, request: SweepRequest): Promise<SweepReport>;
}

export interface SweepsOptions {
  readonly store: Store;
  readonly borders: Pick<Borders, "cloud" | "gate" | "tailnet" | "terraform">;
  readonly platform: () => PlatformIds;
  readonly stripeSweep: Pick<StripeSweep, "runIfDue">;
  readonly clock: Clock;
  readonly config: () => Config;
  readonly log: Logger;
  readonly poke: (name: MachineName) => void;
}

export function createSweeps(options: SweepsOptions): Sweeps {
  const { store, borders, clock, config, stripeSweep } = options;
  const deletions = createDeletions({ store, clock, perHour: () => config().sweeps.deletesPerHour });
  const cloud = createCloudSweep({ ...options, ...borders, deletions });
  const { terraform, tailnet } = borders;
  const sweeps: Readonly<Record<SweepName, Sweep | null>> = {
    cloud,
    tailnet: tailnet && createTailnetSweep({ ...options, tailnet, deletions }),
    terraform: createTerraformSweep({ ...options, terraform }),
    bill: createBillSweep(options),
  };

  /** One look of a sweep at a time: a person's waits for the daemon's own, and the reverse. */
  const turns = new Map<SweepName, Promise<unknown>>();
  async function inTurn(name: SweepName, request: SweepRequest, signal: AbortSignal): Promise<SweepReport> {
    const before = turns.get(name) ?? Promise.resolve();
    const sweep = sweeps[name];
    if (!sweep) throw new NoSweepError(`there is no ${name} in this installation`);
    const turn = before.then(() => {
      // Rows that may be older than the world do not say what is left over: recovery compares them first.
      const dryRun = request.dryRun || store.quarantine() !== null;
      return sweep.run({ ...request, dryRun }, signal);
    });
    turns.set(
      name,
      turn.catch(() => {}),
    );
    return turn;
  }
  const own = (name: SweepName, rest: Omit<ScheduledSweep, "name" | "look">): ScheduledSweep => ({
    ...rest,
    name,
    look: (signal) => inTurn(name, { dryRun: false, actor: "daemon" }, signal),
  });

  // What is found there costs no money; grace and two looks are longer than this anyway.
  const slow = { everyMs: () => 5 * minuteMs, deadlineMs: 5 * minuteMs, staleMs: 30 * minuteMs };

  const schedule = createSchedule({
    ...options,
    sweeps: [
      own("cloud", {
        everyMs: () => config().sweeps.everyMs,
        deadlineMs: 5 * minuteMs,
        staleMs: 15 * minuteMs,
      }),
      ...(tailnet ? [own("tailnet", slow)] : []),
      own("terraform", slow),
      own("bill", { everyMs: () => 60 * minuteMs, deadlineMs: 5 * minuteMs, staleMs: 6 * 60 * minuteMs }),
      // It says itself when it is due, every 14 minutes.
      {
        name: "stripe",
        everyMs: () => minuteMs,
        deadlineMs: 20 * minuteMs,
        staleMs: 45 * minuteMs,
        look: stripeSweep.runIfDue,
      },
    ],
  });
  const stopping = new AbortController();

  return {
    ...schedule,
    reconcile: (name, request) => inTurn(name, request, stopping.signal),
    stop() {
      stopping.abort();
      schedule.stop();
    },
  };
}

/**
 * When is which machine looked at. The rows say what is due; events and cron only poke. One look at a time for each
 * machine, a bounded number of builds at once, hand-overs and ends never behind builds. Nothing here sleeps: the loop
 * waits for the earliest of the next due time, a poke, and the end of a look.
 */
import type { Logger } from "pino";
import type { Clock } from "./clock.ts";
import { isProvedAgain, type Machine, type MachineName, type MachineState } from "./machine/machine.ts";
import type { Next } from "./machine/stage.ts";

export interface LoopOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Every machine that is not destroyed. */
  readonly live: () => readonly Machine[];
  readonly reconcile: (name: MachineName, signal: AbortSignal) => Promise<Next>;
  /** Runs after each round, behind whatever is urgent: the queue, the refill. */
  readonly afterRound: () => void;
  readonly maxParallelBuilds: () => number;
  /** Whose looks count against `maxParallelBuilds`. Default: builds. */
  readonly needsSlot?: (machine: Machine) => boolean;
  /** Longest time without a look at the rows, in milliseconds. */
  readonly heartbeatMs?: number | undefined;
}

/** What a watchdog can see of the loop: whether it comes round, and looks that should have ended. */
export interface LoopProgress {
  /** End of the last round (epoch ms); null before the first. */
  readonly roundAt: number | null;
  /** Looks in flight, with the deadline that their machine had when they began (epoch ms; null for none). */
  readonly looks: readonly {
    readonly name: MachineName;
    readonly since: number;
    readonly deadline: number | null;
  }[];
}

export interface Loop {
  /** Look at this machine (or at all that are due) now. */
  poke(name?: MachineName): void;
  start(): void;
  /** No new looks; resolves when those in flight have ended. `abort` tells them to end early. */
  stop(options?: { abort?: boolean }): Promise<void>;
  inFlight(): readonly MachineName[];
  progress(): LoopProgress;
  /** The machine is not looked at until the returned function is called (a person works on it); null if it is in flight. */
  hold(name: MachineName): (() => void) | null;
}

/** States that cost minutes and CPU; the others are quick or urgent and never wait for a slot, as another proof does not. */
const builds: readonly MachineState[] = ["creating", "booting", "preparing", "proving"];
const isBuild = (machine: Machine): boolean => builds.includes(machine.state) && !isProvedAgain(machine);

interface Look {
  readonly done: Promise<void>;
  readonly controller: AbortController;
  readonly build: boolean;
  readonly since: number;
  readonly deadline: number | null;
}

/** Why a wait or a look is over; made once, as each `abort()` would make an exception with its stack. */
const over = new Error("over");

export function createLoop(options: LoopOptions): Loop {
  const { clock, log, needsSlot = isBuild } = options;
  const flying = new Map<MachineName, Look>();
  const due = new Map<MachineName, number>();
  const again = new Set<MachineName>();
  const held = new Set<MachineName>();
  let stopping = false;
  let roundAt: number | null = null;
  let wake = new AbortController();
  let running: Promise<void> = Promise.resolve();

  const poke = (name?: MachineName): void => {
    if (name) {
      due.set(name, 0);
      if (flying.has(name)) again.add(name);
    }
    wake.abort(over);
  };

  function launch(machine: Machine): void {
    const { name } = machine;
    const controller = new AbortController();
    const untilDeadline = machine.deadline === null ? null : Math.max(0, machine.deadline - clock.now());
    // A stage that hangs past its deadline is told to end; the row is then judged at the next look.
    if (untilDeadline !== null) {
      void clock.delay(untilDeadline, controller.signal).then(() => controller.abort(over));
    }
    const done = options
      .reconcile(name, controller.signal)
      .then((next) => due.set(name, again.delete(name) ? 0 : clock.now() + next.againInMs))
      .catch((error: unknown) => {
        log.error({ machine: name, err: error }, "a look at a machine threw");
        due.set(name, clock.now() + 5_000);
      })
      .finally(() => {
        controller.abort(over);
        flying.delete(name);
        wake.abort(over);
      });
    const { deadline } = machine;
    const build = needsSlot(machine);
    flying.set(name, { done: done.then(() => {}), controller, build, since: clock.now(), deadline });
  }

  function round(): number {
    const now = clock.now();
    const live = options.live();
    const names = new Set(live.map((machine) => machine.name));
    for (const name of due.keys()) if (!names.has(name)) due.delete(name);
    let nextAt = now + (options.heartbeatMs ?? 5_000);
    for (const machine of live) {
      if (flying.has(machine.name) || held.has(machine.name)) continue;
      const at = Math.max(due.get(machine.name) ?? 0, machine.nextLookAt);
      if (at > now) {
        nextAt = Math.min(nextAt, at);
        continue;
      }
      if (needsSlot(machine)) {
        const building = [...flying.values()].filter((look) => look.build).length;
        if (building >= options.maxParallelBuilds()) continue;
      }
      launch(machine);
    }
    try {
      options.afterRound();
    } catch (error) {
      log.error({ err: error }, "refill failed");
    }
    return nextAt;
  }

  async function run(): Promise<void> {
    while (!stopping) {
      wake = new AbortController();
      const nextAt = round();
      roundAt = clock.now();
      await clock.delay(Math.max(1, nextAt - clock.now()), wake.signal);
    }
  }

  return {
    poke,
    start() {
      running = run();
    },
    async stop({ abort = false } = {}) {
      stopping = true;
      wake.abort(over);
      await running;
      if (abort) for (const look of flying.values()) look.controller.abort(over);
      await Promise.allSettled([...flying.values()].map((look) => look.done));
    },
    inFlight: () => [...flying.keys()],
    progress: () => ({
      roundAt,
      looks: [...flying].map(([name, { since, deadline }]) => ({ name, since, deadline })),
    }),
    hold(name) {
      if (flying.has(name) || held.has(name)) return null;
      held.add(name);
      return () => {
        held.delete(name);
        poke(name);
      };
    },
  };
}

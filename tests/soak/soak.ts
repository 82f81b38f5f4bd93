/**
 * Random trouble for the daemon as a process: buyers who pay, cancel, pay late; webhooks lost and doubled; answers of
 * Hetzner, Stripe and Tailscale lost, late and false; SIGKILLs of daemon and terraform. Ends in calm, with every
 * invariant and the bill (tests/faults/rig.ts). The seed decides what is done; what the machine makes of it, it does not.
 */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { OrderView } from "../../api/views.ts";
import type { MachineKind } from "../cloud/local-cloud.ts";
import { type FaultRig, startFaultRig } from "../faults/rig.ts";
import { Chance } from "../sim/chance.ts";

export interface SoakOptions {
  readonly orders: number;
  readonly seed?: number;
  readonly backend?: MachineKind;
  /** Machines at once. */
  readonly machines?: number;
  /** In milliseconds: no more orders after that. */
  readonly longestMs?: number;
  readonly onProgress?: (text: string) => void;
}

export interface SoakOutcome {
  readonly orders: number;
  /** By the state in which they ended. */
  readonly ends: Readonly<Record<string, number>>;
  /** That had run for some time. */
  readonly served: number;
  readonly kills: { readonly daemon: number; readonly terraform: number };
  /** Faults that hit. */
  readonly hits: number;
  readonly servers: number;
  readonly seconds: number;
}

/** Everything came to rest and every invariant holds when it resolves. @throws AssertionError naming what does not */
export async function soak(options: SoakOptions): Promise<SoakOutcome> {
  const { orders: wanted, seed = 1, backend = "process", machines = 12, onProgress = () => {} } = options;
  const started = performance.now();
  const until = started + (options.longestMs ?? Number.POSITIVE_INFINITY);
  const chance = new Chance(seed);
  const warm = Math.max(1, Math.floor(machines / 2));
  const rig = await startFaultRig({ minReady: warm, maxTotal: machines, failurePause: "1s" }, backend);
  try {
    const { cloud } = rig.rig;
    const kills = { daemon: 0, terraform: 0 };
    const bought: { readonly view: OrderView; readonly subscription: string }[] = [];
    let made = 0;
    let over = false;

    const trouble = async () => {
      while (!over) {
        await delay(chance.between(50, 400));
        if (chance.happens(0.04)) {
          await rig.rig.daemon.kill();
          kills.daemon += 1;
          await delay(chance.between(0, 300));
          await rig.rig.restart();
        } else if (chance.happens(0.05)) {
          const [pid] = terraformBelow(rig.rig.operator.stateDir);
          if (pid !== undefined && stop(pid)) kills.terraform += 1;
        } else disturb(rig, chance);
      }
    };
    /** Orders while the daemon may be away: the web app asks again, with the same key. */
    const order = async (name: string): Promise<OrderView> => {
      for (;;) {
        try {
          return await rig.rig.shop.order(
            { customer: name, env: { CLAW_MODEL_API_KEY: `sk-${name}` } },
            { idempotencyKey: name },
          );
        } catch {
          assert(performance.now() < until + 120_000, `${name} was never ordered`);
          await delay(100);
        }
      }
    };
    const cancelOne = () => {
      const [gone] = bought.splice(chance.integer(0, bought.length - 1), 1);
      if (gone) cloud.stripe.console.cancel(gone.subscription);
    };

    await rig.ready(warm);
    onProgress(`${warm} machines are ready`);
    const troubled = trouble();
    try {
      while (made < wanted && performance.now() < until) {
        const view = await order(`soak-${seed}-${++made}`);
        const { subscription } = cloud.stripe.console.buy(view.checkout_session ?? "");
        bought.push({ view, subscription: subscription.id });
        // About as many as there are machines stay; the queue never grows for long.
        while (bought.length > warm) cancelOne();
        if (chance.happens(0.3)) await delay(chance.between(0, 500));
        if (made % 50 === 0) onProgress(`${made} orders, ${kills.daemon} SIGKILLs of the daemon`);
      }
    } finally {
      over = true;
      await troubled;
    }
    const hits = cloud.hetzner.faults.log().length + cloud.stripe.faults.log().length;
    onProgress("calm");
    await rig.settle();
    const ends: Record<string, number> = {};
    const all = rig.store.orders({ limit: Number.MAX_SAFE_INTEGER });
    for (const { state } of all) ends[state] = (ends[state] ?? 0) + 1;
    return {
      orders: all.length,
      ends,
      served: all.filter(({ servingAt }) => servingAt !== null).length,
      kills,
      hits,
      servers: cloud.hetzner.bill().lines.filter(({ kind }) => kind === "server").length,
      seconds: (performance.now() - started) / 1_000,
    };
  } finally {
    await rig.stop();
  }
}

/** One thing that goes wrong once; what has not hit yet goes away when the trouble ends. */
function disturb({ rig: { cloud } }: FaultRig, chance: Chance): void {
  const { hetzner, stripe, tailscale } = cloud;
  const when = chance.happens(0.5) ? "before" : "after";
  const answer = chance.pick(["unavailable", "rate_limit_exceeded", "server_error", "timeout"] as const);
  const paths = ["/servers", "/servers/*", "/actions"];
  const kinds = [
    () => hetzner.faults.add({ path: chance.pick(paths), effect: { kind: "drop", when } }),
    () => hetzner.faults.add({ path: chance.pick(paths), effect: { kind: "error", code: answer } }),
    () =>
      hetzner.faults.add({ method: "DELETE", path: "/servers/*", effect: { kind: "error", code: "locked" } }),
    () => hetzner.faults.add({ effect: { kind: "stock_out" }, server: { location: "fsn1" } }),
    () => hetzner.faults.add({ method: "GET", path: "/servers", effect: { kind: "short_list" } }),
    () => stripe.faults.add({ on: "delivery", effect: { kind: "duplicate", copies: 2 } }),
    () => stripe.faults.add({ on: "delivery", effect: { kind: "drop", when } }),
    () => stripe.faults.add({ on: "delivery", effect: { kind: "garble" } }),
    () => stripe.faults.add({ on: "event", effect: { kind: "twin" } }),
    () =>
      stripe.faults.add({
        on: "call",
        path: "/v1/checkout/sessions/*",
        effect: { kind: "answer", status: 500, when },
      }),
    () => void tailscale.faults.add({ effect: { kind: "answer", status: 500, when } }),
  ];
  chance.pick(kinds)();
}

/** terraform's processes that work below the state folder. */
function terraformBelow(stateDir: string): number[] {
  return readdirSync("/proc").flatMap((pid) => {
    try {
      if (!/^\d+$/.test(pid)) return [];
      const [command = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const ours = readlinkSync(`/proc/${pid}/cwd`).startsWith(stateDir);
      return /(^|\/)terraform$/.test(command) && ours ? [Number(pid)] : [];
    } catch {
      return [];
    }
  });
}

function stop(pid: number): boolean {
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false;
  }
}

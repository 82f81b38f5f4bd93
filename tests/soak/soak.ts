/**
 * Random trouble for the daemon as a process: buyers who pay, wait, lose patience, cancel later; webhooks lost and doubled;
 * answers of Hetzner, Stripe and Tailscale lost, late and false; SIGKILLs of daemon and terraform. Ends in calm, with every
 * invariant and the bill (tests/faults/rig.ts). The seed decides what is done; what the machine makes of it, it does not.
 *
 * Orders come faster than machines can be built, as in a rush: a queue of as many as may be built is served in its order,
 * and behind it a buyer loses patience. So whoever waits is served at the rate of builds, whatever that is on this host.
 */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { OrderView } from "../../api/views.ts";
import type { OrderState } from "../../pool/order/order.ts";
import type { MachineKind } from "../cloud/local-cloud.ts";
import { type FaultRig, startFaultRig } from "../faults/rig.ts";
import { Chance } from "../sim/chance.ts";

export interface SoakOptions {
  readonly orders: number;
  readonly seed?: number;
  readonly backend?: MachineKind;
  /** Machines at once; half of them are kept warm. */
  readonly machines?: number;
  /** Over which the orders come, in milliseconds. */
  readonly lastsMs: number;
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

/**
 * A life of the daemon in which nothing can be finished shows nothing: one SIGKILL in so many pieces of trouble, and none
 * before a machine was built since the last one, however slow the host is.
 */
const killOnceIn = 10;

/** Everything came to rest and every invariant holds when it resolves. @throws AssertionError naming what does not */
export async function soak(options: SoakOptions): Promise<SoakOutcome> {
  const { orders: wanted, seed = 1, backend = "process", machines = 12, onProgress = () => {} } = options;
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1_000;
  const pause = options.lastsMs / wanted;
  const warm = Math.max(1, Math.floor(machines / 2));
  const rig = await startFaultRig({ minReady: warm, maxTotal: machines, failurePause: "1s" }, backend);
  try {
    const { cloud } = rig.rig;
    const kills = { daemon: 0, terraform: 0 };
    /** Whose subscription goes on, by order. */
    const buyers = new Map<string, string>();
    let over = false;
    const told = () => {
      const served = rig.store.orders({ limit: all }).filter(({ servingAt }) => servingAt !== null).length;
      return `${buyers.size} customers, ${served} served so far, ${kills.daemon} SIGKILLs of the daemon, ${seconds().toFixed(0)} s`;
    };

    const built = () => rig.store.machines().filter(({ readyAt }) => readyAt !== null).length;
    const trouble = async () => {
      const chance = new Chance(seed + 1_000_000);
      let builtBefore = 0;
      while (!over) {
        await delay(chance.between(0, 2 * pause));
        if (chance.happens(1 / killOnceIn) && built() > builtBefore) {
          builtBefore = built();
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
      for (const until = performance.now() + 120_000; ; ) {
        try {
          return await rig.rig.shop.order(
            { customer: name, env: { CLAW_MODEL_API_KEY: `sk-${name}` } },
            { idempotencyKey: name },
          );
        } catch {
          assert(performance.now() < until, `${name} was never ordered`);
          await delay(100);
        }
      }
    };
    const cancel = (id: string) => {
      cloud.stripe.console.cancel(buyers.get(id) ?? assert.fail());
      buyers.delete(id);
    };
    const inState = (...states: OrderState[]) =>
      rig.store
        .orders({ states, limit: all })
        .map(({ id }) => id)
        .filter((id) => buyers.has(id));

    await rig.ready(warm);
    onProgress(`${warm} machines are ready after ${seconds().toFixed(0)} s`);
    const troubled = trouble();
    try {
      const chance = new Chance(seed);
      for (let made = 1; made <= wanted; made++) {
        const view = await order(`soak-${seed}-${made}`);
        const { subscription } = cloud.stripe.console.buy(view.checkout_session ?? "");
        buyers.set(view.id, subscription.id);
        // Room for those who wait, and a queue that can be served; now and then somebody goes for no reason.
        const waiting = inState("awaiting-payment", "queued");
        const running = inState("running");
        if (running.length > 0 && (waiting.length > 0 || running.length > warm || chance.happens(0.1)))
          cancel(chance.pick(running));
        if (waiting.length > machines || (waiting.length > 0 && chance.happens(0.05)))
          cancel(chance.pick(waiting));
        await delay(chance.between(0, 2 * pause));
        if (made % 20 === 0) onProgress(`${made} orders: ${told()}`);
      }
    } finally {
      over = true;
      await troubled;
    }
    const hits = cloud.hetzner.faults.log().length + cloud.stripe.faults.log().length;
    onProgress(`calm: ${told()}`);
    rig.calm();
    await rig.rig.until("everybody who waits is served", async () => {
      const waiting = inState("awaiting-payment", "queued", "provisioning").length;
      const running = inState("running");
      const stay = waiting > 0 ? Math.floor(warm / 2) : machines - warm;
      for (const id of running.slice(stay)) cancel(id);
      return waiting === 0;
    });
    await rig.settle();
    const ended = rig.store.orders({ limit: all });
    const ends: Record<string, number> = {};
    for (const { id, state } of ended) {
      ends[state] = (ends[state] ?? 0) + 1;
      const isEnd = state === "running" || state === "released";
      const isTold = state === "failed" && rig.store.flags().some(({ subject }) => subject === id);
      assert(isEnd || isTold, `${id} ended as ${state}, and nobody was told`);
    }
    return {
      orders: ended.length,
      ends,
      served: ended.filter(({ servingAt }) => servingAt !== null).length,
      kills,
      hits,
      servers: cloud.hetzner.bill().lines.filter(({ kind }) => kind === "server").length,
      seconds: seconds(),
    };
  } finally {
    await rig.stop();
  }
}

const all = Number.MAX_SAFE_INTEGER;

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

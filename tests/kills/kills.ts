/**
 * SIGKILLs in the middle of webhook bursts: a sender posts signed events, many at once, and remembers which were answered
 * with 2xx; the receiver is killed at a random moment and replaced at once. What got no 2xx is sent again, as Stripe does.
 */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { Stripe } from "stripe";
import type { OrderId } from "../../pool/machine/machine.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { Chance } from "../sim/chance.ts";
import { assertAudited } from "../store/audited.ts";
import type { Turn } from "./child.ts";

export interface KillsOptions {
  readonly times: number;
  /** Decides what is sent and when the plug is pulled; what the machine does in between it does not decide. */
  readonly seed?: number;
  /** The receiver answers before it writes: to see that losses are seen. */
  readonly lies?: boolean;
  readonly onKill?: (done: number) => void;
}

export interface KillsOutcome {
  readonly kills: number;
  /** Kills that hit while requests were unanswered. */
  readonly inFlight: number;
  readonly sent: number;
  readonly acknowledged: number;
  /** Acknowledged, and not in the inbox or not paid. */
  readonly lost: readonly string[];
  readonly paid: number;
  readonly claims: number;
  /** Orders that have or had more than one machine, machines that had more than one order. */
  readonly doubled: readonly string[];
  readonly seconds: number;
}

interface Event {
  readonly id: string;
  readonly order: string;
  readonly body: string;
}

const program = fileURLToPath(new URL("child.ts", import.meta.url));

export async function pullThePlug({
  times,
  seed = 1,
  lies = false,
  onKill,
}: KillsOptions): Promise<KillsOutcome> {
  const started = performance.now();
  const chance = new Chance(seed);
  const dir = mkdtempSync(join(tmpdir(), "clawpool-kills-"));
  const sealingKey = newSealingKey();
  const shared = {
    dir,
    sealingKey: sealingKey.expose(),
    webhookSecret: `whsec_${randomBytes(24).toString("hex")}`,
    lies,
  };
  const acknowledged = new Map<string, Event>();
  const receivers = new Set<ChildProcess>();
  let pending: Event[] = [];
  let [sent, inFlight, number] = [0, 0, 0];
  let seeds: Pick<Turn, "machines" | "orders"> = { machines: [], orders: [] };

  const prepare = (): ChildProcess => {
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_COMPILE_CACHE: join(dir, "compiled") },
    });
    // Killed while it was told what to do.
    child.stdin.on("error", () => {});
    receivers.add(child);
    return child;
  };
  const kill = async (child: ChildProcess) => {
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    receivers.delete(child);
  };

  async function post(url: string, event: Event): Promise<void> {
    sent += 1;
    const signature = Stripe.webhooks.generateTestHeaderString({
      payload: event.body,
      secret: shared.webhookSecret,
    });
    const headers = { "content-type": "application/json", "stripe-signature": signature };
    const answer = await fetch(`${url}/webhooks/stripe`, { method: "POST", headers, body: event.body });
    assert.equal(answer.status, 200, `${event.id}: ${await answer.text()}`);
    acknowledged.set(event.id, event);
  }

  /** Payments of this burst, some told twice, by two events, or as one that cleared. */
  function burst(): Event[] {
    const orders = Array.from({ length: chance.integer(4, 12) }, () => orderId(++number));
    const machines = Array.from({ length: chance.integer(4, 12) }, (_, i) => `claw-kill-${number}-${i}`);
    seeds = { orders, machines };
    return orders.flatMap((order) => {
      const first = paid(order, "checkout.session.completed", 1);
      return [
        first,
        ...(chance.happens(0.2) ? [first] : []),
        ...(chance.happens(0.2) ? [paid(order, "checkout.session.completed", 2)] : []),
        ...(chance.happens(0.2) ? [paid(order, "checkout.session.async_payment_succeeded", 3)] : []),
      ];
    });
  }

  /** One life. @returns false when it died before it listened, so that nothing could be sent. */
  async function life(receiver: ChildProcess): Promise<boolean> {
    const listening = once(receiver.stdout ?? assert.fail(), "data");
    receiver.stdin?.write(`${JSON.stringify({ ...shared, ...seeds } satisfies Turn)}\n`);
    if (chance.happens(0.05)) {
      await delay(chance.between(0, 40));
      await kill(receiver);
      return false;
    }
    const died = once(receiver, "exit").then(([code]) => assert.fail(`the receiver ended with ${code}`));
    const [url] = await Promise.race([listening, died]);
    died.catch(() => {});
    let answers = 0;
    let open = pending.length;
    const enough = Promise.withResolvers<void>();
    const wanted = chance.integer(0, pending.length);
    if (wanted === 0) enough.resolve();
    const posts = pending.map((event) =>
      post(String(url).trim(), event)
        .catch((error: unknown) => {
          // The plug was pulled. Anything else that is wrong shows as an answer.
          if (error instanceof assert.AssertionError) throw error;
        })
        .finally(() => {
          open -= 1;
          if (++answers >= wanted) enough.resolve();
        }),
    );
    await enough.promise;
    await delay(chance.between(0, 3));
    if (open > 0) inFlight += 1;
    await kill(receiver);
    await Promise.all(posts);
    return true;
  }

  try {
    let next = prepare();
    pending = burst();
    for (let kills = 1; kills <= times; kills++) {
      const receiver = next;
      next = prepare();
      const tried = await life(receiver);
      onKill?.(kills);
      if (!tried) continue;
      const again = pending.filter(({ id }) => !acknowledged.has(id));
      // Two of three are sent again; of the others Stripe's owner has switched the endpoint off.
      pending = [...again.filter(() => chance.happens(0.67)), ...burst()];
    }
    await kill(next);
    return { kills: times, inFlight, sent, ...verdict(dir, sealingKey, [...acknowledged.values()], started) };
  } finally {
    for (const receiver of receivers) receiver.kill("SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What is on disk when nothing runs any more. @throws AssertionError when the audit log does not tell all of it */
function verdict(
  dir: string,
  sealingKey: ReturnType<typeof newSealingKey>,
  acknowledged: readonly Event[],
  started: number,
): Omit<KillsOutcome, "kills" | "inFlight" | "sent"> {
  const file = join(dir, "clawpool.sqlite");
  const store = openSqliteStore({ file, sealer: createSealer([sealingKey]) });
  try {
    const db = new Database(file, { readonly: true });
    const kept = new Set(db.prepare("SELECT id FROM inbox").pluck().all());
    db.close();
    const lost = acknowledged.flatMap(({ id, order }) => {
      if (!kept.has(id)) return [`${id} of ${order} is not in the inbox`];
      return store.order(order as OrderId)?.paidAt == null ? [`${order} of ${id} is not paid`] : [];
    });
    const claims = new Map<string, string[]>();
    const had = new Map<string, string[]>();
    const rows = store.auditRows({ limit: Number.MAX_SAFE_INTEGER });
    for (const { action, subject, after } of rows) {
      if (action !== "machine.claimed") continue;
      const order = String(after?.order);
      claims.set(order, [...(claims.get(order) ?? []), subject]);
      had.set(subject, [...(had.get(subject) ?? []), order]);
    }
    const bound = new Map<string, string>();
    const doubled: string[] = [];
    for (const { name, order } of store.machines()) {
      if (!order) continue;
      if (bound.has(order)) doubled.push(`${order} has ${bound.get(order)} and ${name}`);
      bound.set(order, name);
    }
    for (const [one, several] of [...claims, ...had])
      if (several.length > 1) doubled.push(`${one}: ${several.join(", ")}`);
    assertAudited(store);
    const paid = store.orders({ limit: Number.MAX_SAFE_INTEGER }).filter(({ paidAt }) => paidAt !== null);
    return {
      acknowledged: acknowledged.length,
      lost,
      paid: paid.length,
      claims: claims.size,
      doubled,
      seconds: (performance.now() - started) / 1_000,
    };
  } finally {
    store.close();
  }
}

/** As ours are: `ord_` and 24 letters. */
const orderId = (number: number): string =>
  `ord_${[...String(number).padStart(24, "0")].map((digit) => "abcdefghij"[Number(digit)]).join("")}`;

function paid(order: string, type: string, number: number): Event {
  const id = `evt_${order.slice(4)}_${number}`;
  const created = Math.floor(Date.now() / 1_000);
  const object = {
    id: `cs_${order.slice(4)}`,
    object: "checkout.session",
    created,
    status: "complete",
    payment_status: "paid",
    mode: "subscription",
    client_reference_id: order,
    subscription: `sub_${order.slice(4)}`,
    customer: "cus_1",
    metadata: { clawpool_order: order },
  };
  return {
    id,
    order,
    body: JSON.stringify({ id, object: "event", api_version: null, type, created, data: { object } }),
  };
}

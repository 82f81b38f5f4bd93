/**
 * claimed → handing-over → serving: the claimed machine becomes the customer's.
 *
 * One document over the armed connection; the program's attestation and Stripe's word, asked for at the same time, must
 * both be good before the order is told that it runs. A machine on which this failed has seen a customer: it is never
 * offered again, and the order takes the next one.
 */
import { BorderError } from "../errors.ts";
import { target } from "./boot.ts";
import type { Machine, OrderId } from "./machine.ts";
import type { TailnetJoin } from "./protocol.ts";
import { refuseUnproved } from "./prove.ts";
import { atOnce, type Stage, type StageContext } from "./stage.ts";

export const claimed: Stage = async (machine, { store, clock, config }) => {
  const deadline = clock.now() + config().deadlines.handingOverMs;
  store.changeMachine(machine.name, "claimed", { state: "handing-over", deadline }, "the hand-over starts");
  return atOnce;
};

/**
 * Hand-overs that were under way when the last daemon ended have their full time again: on the machine they went on by
 * themselves, and are mostly done. Otherwise whoever paid would be moved to another machine, or wait for a build, because
 * the daemon was away for a minute. At a start, before anything is looked at.
 */
export function renewHandOvers({ store, clock, config }: Pick<StageContext, "store" | "clock" | "config">) {
  const deadline = clock.now() + config().deadlines.handingOverMs;
  for (const { name, held } of store.machines({ states: ["handing-over"] })) {
    if (held !== null) continue;
    store.changeMachine(name, "handing-over", { deadline }, "it goes on after a restart of the daemon");
  }
}

export const handOver: Stage = async (machine, context) => {
  const { store, log } = context;
  const order = machine.order as OrderId;
  const started = performance.now();
  // Both at once; the payment is Stripe's signed word already, this asks again and must agree.
  const confirmation = context.confirmation(order);
  confirmation.catch(() => {}); // awaited below; until then a rejection must not count as unhandled
  // At a repeated try it may be Stripe that was missing: then the document need not go out again for nothing.
  if (machine.attempts > 0) await confirmation;
  const { attestation: attested, ms: machineMs } = await sendDocument(machine, order, context);
  if ((await confirmation) === "disagreed") {
    throw new BorderError(`Stripe does not confirm the payment of order ${order}`, {
      border: "stripe",
      kind: "permanent",
      code: "not-paid",
    });
  }
  store.recordServing(machine.name, {
    tailnetNode: attested.tailnetNode,
    tailnetAddress: attested.tailnetAddress,
  });
  if (attested.tailnetReachable === false) {
    const reason = "joined, but other nodes cannot find the machine yet: it has no home relay";
    const since = store.machine(machine.name)?.stateSince ?? context.clock.now();
    const health = { state: "degraded", since, misses: 1, reason, repairs: [], told: false } as const;
    store.putHealth({ machine: machine.name, ...health }, reason);
  }
  const ms = Math.round(performance.now() - started);
  const why = "attested, and Stripe agreed";
  store.audit("daemon", "machine.handed-over", machine.name, {
    why,
    order,
    ms,
    machineMs,
    way: attested.way,
  });
  log.info({ machine: machine.name, order, ms, way: attested.way }, "handed over");
  // At once and not at the next minute: the customers after this one do not wait for a key either.
  context.keys?.replenish().catch((err: unknown) => log.warn({ err }, "no Tailscale key could be minted"));
  return atOnce;
};

async function sendDocument(machine: Machine, order: OrderId, context: StageContext) {
  const { store, armed, keys, config } = context;
  const connecting = armed.ensure(machine.name, target(machine, context, "root"));
  connecting.catch(() => {}); // awaited below, after the key
  const key = (await keys?.take()) ?? null;
  try {
    const connection = await connecting;
    const { env, gatewayToken } = store.agentSecrets(order);
    const controlUrl = config().tailnet?.controlUrl;
    const tailnet: TailnetJoin | null = key
      ? { key: key.key.expose(), hostname: machine.name, ...(controlUrl ? { controlUrl } : {}) }
      : null;
    const { OPENCLAW_MODEL: model, ...variables } = env;
    const result = await connection.run(
      {
        op: "hand-over",
        rehearsal: false,
        order,
        generation: machine.generation,
        currentToken: store.machineSecrets(machine.name).poolToken,
        gatewayToken,
        env: variables,
        ...(model ? { model: { primary: model } } : {}),
        tailnet,
        dropAdmin: true,
      },
      (step) => store.appendStep(order, { step: step.step, ms: step.ms }),
    );
    refuseUnproved(result.attestation, tailnet !== null);
    return result;
  } catch (error) {
    // It may lie unspent on a machine that is the customer's now.
    const why = "the hand-over that took it failed";
    if (key) context.tailnet?.revokeKey(key.id, { subject: machine.name, why }).catch(() => {});
    throw error;
  } finally {
    armed.drop(machine.name);
  }
}

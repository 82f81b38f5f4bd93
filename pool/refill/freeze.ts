/**
 * While somebody refuses our whole account no machine is bought; now and then one is tried, to see whether it is over.
 * Hetzner's limit shows itself only in an order that is refused, which costs nothing, so there a build is the probe;
 * Tailscale is asked for a key.
 */
import type { Config } from "../config/config.ts";
import type { Machine } from "../machine/machine.ts";
import type { Freeze, Store } from "../store/store.ts";
import type { Tailnet } from "../tailnet/tailnet.ts";

const firstPauseMs = 60_000;
/** An order that waits is reason to ask more often. */
const longestPauseMs = { pool: 15 * 60_000, order: 2 * 60_000 };
const probeKeySeconds = 60;

/** When the next build may be tried in spite of the freeze, epoch ms. */
export function probeAt({ probes, probedAt }: Freeze, ordersWait: boolean): number {
  const longest = ordersWait ? longestPauseMs.order : longestPauseMs.pool;
  return probedAt + Math.min(firstPauseMs * 2 ** (probes - 1), longest);
}

/** @returns how many of `wanted` machines may be planned: all, or one as a probe, or none */
export function thawed(
  store: Store,
  demand: { readonly wanted: number; readonly queued: number; readonly live: readonly Machine[] },
  now: number,
): number {
  const frozen = store.frozen();
  if (frozen.length === 0) return demand.wanted;
  // A machine would be built only to wait for its rehearsal.
  if (frozen.some(({ border }) => border === "tailnet")) return 0;
  if (frozen.some((freeze) => now < probeAt(freeze, demand.queued > 0))) return 0;
  const isTried = demand.live.some(({ state }) => state === "planned" || state === "creating");
  return isTried ? 0 : Math.min(1, demand.wanted);
}

/** The machine was planned before the freeze: it would only be refused, too. */
export function isFrozenOut(store: Store, machine: Machine): boolean {
  return store.frozen().some(({ border, at }) => border === "cloud" && machine.createdAt <= at);
}

/** Asks Tailscale for a key while it refuses us. @throws BorderError when it still does */
export async function probeTailnet(
  store: Store,
  tailnet: Tailnet | null,
  config: Pick<Config, "tailnet">,
): Promise<void> {
  if (!store.frozen().some(({ border }) => border === "tailnet")) return;
  if (!tailnet || !config.tailnet) {
    store.thaw("tailnet", "no tailnet is configured any more");
    return;
  }
  const because = { subject: "tailnet", why: "a probe: does Tailscale still refuse us?" };
  const key = await tailnet.mintKey(
    {
      tags: config.tailnet.rehearsalTags,
      expirySeconds: probeKeySeconds,
      description: "probe",
      ephemeral: true,
    },
    because,
  );
  store.thaw("tailnet", "Tailscale gave a key");
  await tailnet.revokeKey(key.id, because);
}

/** Fresh auth keys held ready, so that the hand-over of a paid order never waits for one to be minted. */
import type { Clock } from "../clock.ts";
import type { AuthKey, KeyStock, Tailnet } from "./tailnet.ts";

export interface KeyStockOptions {
  readonly tailnet: Pick<Tailnet, "mintKey" | "revokeKey">;
  readonly clock: Clock;
  readonly tags: readonly string[];
  /** How many keys are held. */
  readonly size: number;
  /** Life of a key. Default 600: an unredeemed key that leaks is worth nothing ten minutes later. */
  readonly ttlSeconds?: number;
  /** What a key must have left when it is taken: the time a hand-over may need, with its repeats. */
  readonly minTtlMs: number;
  /** Keys of one-time nodes, e.g. for rehearsals. */
  readonly ephemeral?: boolean;
  /** Told when an old key could not be revoked, which its short life makes harmless. */
  readonly onRevokeFailed?: (id: string, error: unknown) => void;
}

/**
 * A stock that is empty until `replenish` is called.
 *
 * @throws RangeError when keys would be too old for use as soon as they are minted
 */
export function createKeyStock(options: KeyStockOptions): KeyStock {
  const { tailnet, clock, tags, size, ttlSeconds = 600, minTtlMs, ephemeral = false } = options;
  if (minTtlMs >= ttlSeconds * 1_000) throw new RangeError("minTtlMs must be below ttlSeconds");
  /** Oldest first. */
  let held: AuthKey[] = [];
  let old: AuthKey[] = [];
  let closed = false;
  let replenishing: Promise<void> | null = null;

  const because = (why: string) => ({ subject: "key stock", why });
  const mint = (why: string) => {
    const key = { tags, expirySeconds: ttlSeconds, description: "clawpool hand-over", ephemeral };
    return tailnet.mintKey(key, because(why));
  };
  const isFresh = (key: AuthKey) => key.expiresAt - clock.now() >= minTtlMs;
  const sortOut = () => {
    old.push(...held.filter((key) => !isFresh(key)));
    held = held.filter(isFresh);
  };
  const revoke = async (keys: readonly AuthKey[]) => {
    for (const { id } of keys) {
      const why = closed ? "the daemon stops" : "too old for a hand-over";
      await tailnet
        .revokeKey(id, because(why))
        .catch((error: unknown) => options.onRevokeFailed?.(id, error));
    }
  };
  const fill = async () => {
    sortOut();
    const gone = old;
    old = [];
    try {
      // New keys first: they are what a customer may wait for.
      for (let missing = size - held.length; missing > 0 && !closed; missing--) {
        const key = await mint(`${missing} of ${size} are missing`);
        (closed ? gone : held).push(key);
      }
    } finally {
      await revoke(gone);
    }
  };

  return {
    async take() {
      if (closed) throw new Error("the key stock is closed");
      sortOut();
      return held.shift() ?? mint("a hand-over found the stock empty");
    },
    replenish() {
      if (closed) return Promise.resolve();
      replenishing ??= fill().finally(() => {
        replenishing = null;
      });
      return replenishing;
    },
    async close() {
      closed = true;
      // A failure to mint was the caller's of replenish to handle.
      await replenishing?.catch(() => {});
      const rest = [...old, ...held];
      [held, old] = [[], []];
      await revoke(rest);
    },
  };
}

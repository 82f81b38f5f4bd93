/** Fresh auth keys held ready, so that the hand-over of a paid order never waits for one to be minted. */
import type { Clock } from "../clock.ts";
import type { AuthKey, KeyStock, Tailnet } from "./tailnet.ts";

export interface KeyStockOptions {
  readonly tailnet: Pick<Tailnet, "mintKey" | "revokeKey">;
  readonly clock: Clock;
  readonly tags: readonly string[];
  /** Named in the keys' description, so that a later daemon knows what this one left unused. */
  readonly instance: string;
  /** How many keys are held. */
  readonly size: number;
  /**
   * Life of a key. Default 6 h. Keys are held in memory only, beside the OAuth client's secret that mints any number, so
   * a shorter life protects nothing; it only has them minted again and again: 400 audit rows a day and key at 10 minutes,
   * 4 at six hours. Whoever takes a key and does not see it spent revokes it.
   */
  readonly ttlSeconds?: number;
  /** What a key must have left when it is taken: the time a hand-over may need, with its repeats. */
  readonly minTtlMs: number;
  /** Keys of one-time nodes, e.g. for rehearsals. */
  readonly ephemeral?: boolean;
  /** Told when a key could not be revoked at the end; it expires by itself. */
  readonly onRevokeFailed?: (id: string, error: unknown) => void;
}

const describe = (instance: string): string => `clawpool ${instance} hand-over`;

/** Whether a key of this description is one that this installation holds for hand-overs. */
export const isKeyOf = (instance: string, description: string): boolean => description === describe(instance);

/**
 * A stock that is empty until `replenish` is called.
 *
 * @throws RangeError when keys would be too old for use as soon as they are minted
 */
export function createKeyStock(options: KeyStockOptions): KeyStock {
  const {
    tailnet,
    clock,
    tags,
    instance,
    size,
    ttlSeconds = 6 * 3_600,
    minTtlMs,
    ephemeral = false,
  } = options;
  if (minTtlMs >= ttlSeconds * 1_000) throw new RangeError("minTtlMs must be below ttlSeconds");
  /** Oldest first. */
  let held: AuthKey[] = [];
  let closed = false;
  let replenishing: Promise<void> | null = null;

  const because = (why: string) => ({ subject: "key stock", why });
  const mint = (why: string) => {
    const key = { tags, expirySeconds: ttlSeconds, description: describe(instance), ephemeral };
    return tailnet.mintKey(key, because(why));
  };
  const isFresh = (key: AuthKey) => key.expiresAt - clock.now() >= minTtlMs;
  /** What is too old for a hand-over expires within `minTtlMs` by itself: no call, no audit row. */
  const sortOut = () => {
    held = held.filter(isFresh);
  };
  const revoke = async ({ id }: AuthKey) =>
    tailnet
      .revokeKey(id, because("the daemon stops"))
      .catch((error: unknown) => options.onRevokeFailed?.(id, error));
  const fill = async () => {
    sortOut();
    for (let missing = size - held.length; missing > 0 && !closed; missing--) {
      const key = await mint(`${missing} of ${size} are missing`);
      if (closed) await revoke(key);
      else held.push(key);
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
      const rest = held;
      held = [];
      for (const key of rest) await revoke(key);
    },
  };
}

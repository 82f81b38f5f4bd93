/**
 * How the sweep of Stripe asks for single objects, and what it makes of those that it did not get. A call that failed may
 * be Stripe's trouble, which passes; the account's, which keeps whole kinds of objects from us until a person acts; or
 * the object's own, which must keep no other from being asked for.
 */
import type { Logger } from "pino";
import { BorderError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { createTelling } from "./tell.ts";

/** Calls for single objects of a kind in one look; those that are left come next. One at a time: far below 100 a second. */
const mostAsked = 200;
/** Failures in a row after which no more is asked. */
const mostFailures = 3;

const refusedFlag = "stripe-refused";
const objectFlag = "stripe-object-failed";

export type AskedKind = "session" | "subscription" | "standing";

/** The last of each kind that was asked for; the next look begins behind it. */
export type LastAsked = Readonly<Record<AskedKind, string>>;

/**
 * Of those that are asked for now: what was got, or failed by itself, since all of them were last. In memory alone, since
 * a daemon that starts asks for everything anyway.
 */
export type Settled = Readonly<Record<AskedKind, ReadonlySet<string>>>;

const none: ReadonlySet<string> = new Set();
export const nothingSettled: Settled = { session: none, subscription: none, standing: none };

export interface Asking {
  /**
   * Asks for each id in turn, from behind the last one of the look before and around, `mostAsked` at most.
   *
   * @returns what Stripe has of them; what is missing is in `gaps`, or Stripe does not have it
   * @throws whatever `rethrow` says
   */
  askFor<T>(kind: AskedKind, ids: readonly string[], fetch: (id: string) => Promise<T | null>): Promise<T[]>;
  /** The same for all of these ids, in their order, whatever was asked before. */
  askForAll<T>(ids: readonly string[], fetch: (id: string) => Promise<T | null>): Promise<T[]>;
  /** What could not be asked for, in words. */
  readonly gaps: string[];
  /** Whether all ids were settled in this look and those since the last one of which that is true. */
  isWhole(): boolean;
  lastAsked(): LastAsked;
  settled(): Settled;
  /** Tells a person of refusals and of objects that fail by themselves, and takes back what is over. */
  tell(store: Store, actor: string): void;
}

/** @param rethrow errors that end the look, and are no answer of Stripe's */
export function createAsking(options: {
  lastAsked: LastAsked;
  settled: Settled;
  log: Logger;
  rethrow: (error: unknown) => boolean;
}): Asking {
  const { log, rethrow } = options;
  const lastAsked = { ...options.lastAsked };
  const allSettled = { ...options.settled };
  const gaps: string[] = [];
  const refusals: BorderError[] = [];
  const broken = new Map<string, BorderError>();
  /** Not settled: to be asked for again soon. */
  const open = new Set<string>();
  /** Wanted in this look, and not got. */
  const notGot = new Set<string>();

  async function each<T>(ids: readonly string[], fetch: (id: string) => Promise<T | null>) {
    const found: T[] = [];
    const settled = new Set<string>();
    const failed = new Map<string, unknown>();
    let inARow = 0;
    for (const id of ids) {
      try {
        const object = await fetch(id);
        inARow = 0;
        settled.add(id);
        if (object === null)
          log.warn({ object: id }, "Stripe does not have this object; nothing is concluded");
        else found.push(object);
      } catch (error) {
        if (rethrow(error)) throw error;
        log.warn({ object: id, err: error }, "Stripe could not be asked for an object; nothing is concluded");
        gaps.push(`${id} could not be asked for`);
        failed.set(id, error);
        // That Stripe lacks something says that Stripe answers.
        if (!isMissing(error) && ++inARow === mostFailures) break;
      }
    }
    for (const id of ids) if (!settled.has(id)) notGot.add(id);
    const asked = settled.size + failed.size;
    // Many failures and not one answer are no accident of so many objects.
    const isTheirOwn = settled.size > 0 || failed.size < mostFailures;
    for (const [id, error] of failed) {
      if (!isRefusal(error)) continue;
      if (error.kind === "permanent" && (isTheirOwn || isMissing(error))) {
        broken.set(id, error);
        settled.add(id);
        failed.delete(id);
      } else refusals.push(error);
    }
    return { found, settled, failed, last: ids[asked - 1], unasked: ids.length - asked };
  }

  function tellUnasked(count: number): void {
    if (count > 0) gaps.push(`${count} objects are asked for next time`);
  }

  return {
    gaps,
    async askFor(kind, ids, fetch) {
      const after = lastAsked[kind];
      const sorted = [...new Set(ids)].sort();
      const turn = [...sorted.filter((id) => id > after), ...sorted.filter((id) => id <= after)];
      const later = turn.slice(mostAsked);
      const { found, settled, failed, last, unasked } = await each(turn.slice(0, mostAsked), fetch);
      for (const id of later) notGot.add(id);
      tellUnasked(unasked + later.length);
      const isSettled = (id: string) => settled.has(id) || (allSettled[kind].has(id) && !failed.has(id));
      const left = turn.filter((id) => !isSettled(id));
      for (const id of left) open.add(id);
      allSettled[kind] = left.length === 0 ? none : new Set(turn.filter(isSettled));
      lastAsked[kind] = last ?? after;
      return found;
    },
    async askForAll(ids, fetch) {
      const { found, settled, unasked } = await each([...new Set(ids)], fetch);
      tellUnasked(unasked);
      for (const id of ids) if (!settled.has(id)) open.add(id);
      return found;
    },
    isWhole: () => open.size === 0,
    lastAsked: () => lastAsked,
    settled: () => allSettled,
    tell(store, actor) {
      for (const refusal of refusals) tellRefusal(store, refusal);
      const telling = createTelling(store, false, actor);
      for (const [id, error] of broken) telling.tell(objectFlag, id, textOf(id, error));
      telling.takeBack([objectFlag], "a later look was not kept from it", (_, id) => notGot.has(id));
      if (open.size === 0) telling.takeBack([refusedFlag], "a later look was refused nothing");
    },
  };
}

const isMissing = (error: unknown): boolean =>
  error instanceof BorderError && error.code === "resource_missing";

/** That no repeat helps against. */
export const isRefusal = (error: unknown): error is BorderError =>
  error instanceof BorderError && (error.kind === "auth" || error.kind === "permanent");

/**
 * Tells a person that the account refuses something, once for each permission that Stripe names: its words quote another
 * object each time, and a text that differs would be told anew every minute.
 */
export function tellRefusal(store: Pick<Store, "flag" | "flags">, { kind, message }: BorderError): void {
  const permission = /'(?:rak_)?(\w+_(?:read|write))' permission/.exec(message)?.[1];
  const subject = permission ?? (kind === "auth" ? "key" : "request");
  if (store.flags().some((flag) => flag.kind === refusedFlag && flag.subject === subject)) return;
  const remedy =
    kind === "permanent"
      ? "a repeat does not help; Stripe's words say what must change"
      : permission
        ? `give the restricted key in stripe.key the permission ${permission} (docs/stripe.md lists all that it needs)`
        : "give the key in stripe.key what docs/stripe.md lists, or put in another if it was revoked or has expired";
  store.flag(
    refusedFlag,
    subject,
    `Stripe refuses the sweep, so lost webhooks and suspensions may not be found (${message}): ${remedy}`,
  );
}

const textOf = (id: string, { message }: BorderError): string =>
  `${id} is not compared with Stripe, other objects are (${message}): a repeat does not help; look at it in Stripe's ` +
  "dashboard, and decide about its order by hand (clawpool orders)";

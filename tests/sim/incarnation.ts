/**
 * One life of the daemon: from its start to its end or its death. Death is a SIGKILL: nothing of it runs any further,
 * what it asked of others goes on without it. Each call of a border and each transaction is two points at which it may
 * die, before the effect and behind it; they are counted, so that a test can name each. Nobody lists them: whatever
 * the daemon gets from a border is wrapped, with all that it returns, and so is the database's own way to begin a
 * transaction.
 */
import type { Clock } from "../../pool/clock.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import type { Store } from "../../pool/store/store.ts";
import { watchTransactions } from "./database.ts";

/** Thrown into the code of a dead daemon that calls something at once. */
export class Killed extends Error {
  override readonly name = "Killed";
}

const never = new Promise<never>(() => {});

type Method = (...args: unknown[]) => unknown;

export class Incarnation {
  /** Points passed so far. */
  points = 0;
  readonly clock: Clock;
  /** Resolves at its death. */
  readonly died: Promise<void>;
  #dead = false;
  #hangs: PromiseWithResolvers<void> | null = null;
  readonly #killAt: number | null;
  readonly #die: () => void;
  readonly #count: () => void;

  /**
   * @param killAt the point at which it dies; null lets it live
   * @param count told of each call of a border, and of each transaction that changed something
   */
  constructor(clock: Clock, killAt: number | null, count: () => void, onDeath: () => void) {
    this.#killAt = killAt;
    this.#count = count;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.died = promise;
    this.#die = () => {
      this.#dead = true;
      resolve();
      onDeath();
    };
    this.clock = {
      now: () => clock.now(),
      delay: async (ms, signal) => {
        await clock.delay(ms, signal);
        await this.awake();
        if (this.#dead) await never;
      },
    };
  }

  /** It hangs: nothing of it goes on, and it answers nobody, until it wakes. */
  hang(): void {
    this.#hangs ??= Promise.withResolvers<void>();
  }

  wake(): void {
    this.#hangs?.resolve();
    this.#hangs = null;
  }

  get hung(): boolean {
    return this.#hangs !== null;
  }

  async awake(): Promise<void> {
    while (this.#hangs) await this.#hangs.promise;
  }

  get dead(): boolean {
    return this.#dead;
  }

  kill(): void {
    if (!this.#dead) this.#die();
  }

  /** False when it is dead, or dies here. */
  #survives(): boolean {
    if (this.#dead) return false;
    this.points += 1;
    if (this.points === this.#killAt) this.#die();
    return !this.#dead;
  }

  #point(): void {
    if (!this.#survives()) throw new Killed();
  }

  /** A call that is waited for. */
  async call<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#survives()) return never;
    this.#count();
    return this.#awaited(work());
  }

  async #awaited<T>(work: Promise<T>): Promise<T> {
    const settled = await work.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    await this.awake();
    if (!this.#survives()) return never;
    if ("error" in settled) throw settled.error;
    return this.#wrap(settled.value);
  }

  /** A border, seen by this life: each of its methods is a call, and so are those of what it returns. */
  border<T extends object>(border: T): T {
    const methods = new Map<PropertyKey, Method>();
    return new Proxy(border, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return this.#wrap(value);
        const known = methods.get(name) ?? this.#method(target, value as Method);
        methods.set(name, known);
        return known;
      },
    });
  }

  #method(target: object, method: Method): Method {
    return (...args) => {
      if (!this.#survives()) {
        // Nobody who is dead goes on behind a call that others wait for; one that nobody waits for ends him at once.
        throw new Killed();
      }
      const result = Reflect.apply(method, target, args.map(this.#callback));
      if (result instanceof Promise) {
        this.#count();
        return this.#awaited(result);
      }
      this.#point();
      return this.#wrap(result);
    };
  }

  /** What others call back when it is dead reaches nobody. */
  readonly #callback = (argument: unknown): unknown =>
    typeof argument === "function"
      ? (...args: unknown[]) => (this.#dead || this.#hangs ? undefined : (argument as Method)(...args))
      : argument;

  #wrap<T>(value: T): T {
    if (value instanceof Promise) return this.#awaited(value) as T;
    if (Array.isArray(value))
      return value.some(isAlive) ? (value.map((item) => this.#wrap(item)) as T) : value;
    return isAlive(value) ? (this.border(value) as T) : value;
  }

  /** The store, seen by this life. */
  store(store: Store): Store {
    const watched = (verb: Method): Method => {
      return (...args) => {
        if (this.#dead) throw new Killed();
        return watchTransactions(this.#transactions, verb, args);
      };
    };
    const verbs = Object.entries(store).map(([name, verb]: [string, unknown]) => [
      name,
      typeof verb === "function" ? watched(verb as Method) : verb,
    ]);
    return Object.fromEntries(verbs) as Store;
  }

  readonly #transactions = {
    begins: () => this.#point(),
    ended: (changed: boolean) => {
      if (changed) this.#count();
      this.#point();
    },
  };
}

/** Whether something can be asked of it later. */
function isAlive(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  if (value instanceof Secret || value instanceof Error || ArrayBuffer.isView(value)) return false;
  if ("next" in value || Symbol.asyncIterator in value) return true;
  return Object.values(value).some((part) => typeof part === "function" || part instanceof Promise);
}

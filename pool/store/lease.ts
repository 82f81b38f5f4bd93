/**
 * Who may write to the store: one row with a term that only grows. A daemon takes the next term when it starts, and every
 * transaction asks whether its term is still the last (context.ts); one that was thought dead, and wakes, writes nothing.
 *
 * Whether the present holder is gone is answered by the kernel (instance-lock.ts: a lock that dies with the process, a file
 * for each term), whether it hangs by its heartbeats. No clock is compared with another's: who waits counts his own looks
 * at a beat that does not move.
 */
import type { Database } from "better-sqlite3";
import type { Clock } from "../clock.ts";

export const leaseTable = `
  CREATE TABLE IF NOT EXISTS lease (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    term   INTEGER NOT NULL,
    beat   INTEGER NOT NULL,
    holder TEXT NOT NULL
  ) STRICT;
`;

const lookMs = 1_000;
const beatMs = 10_000;
/** Without a beat in so many looks the holder hangs: with the look and the start a dead daemon is replaced within 40 s. */
const patienceLooks = 30;

export interface LeaseRow {
  readonly term: number;
  readonly beat: number;
  /** What the holder wrote of itself, for people and for `end`. */
  readonly holder: string;
}

/** The row, each in one transaction. */
export interface LeaseRows {
  read(): LeaseRow | null;
  /** Takes term `after + 1`, unless somebody else has taken it. */
  take(after: number, holder: string): boolean;
  /** False when the term is not the last any more. */
  beat(term: number): boolean;
}

export function leaseRows(db: Database): LeaseRows {
  const write = <T>(work: () => T): T => db.transaction(work).immediate();
  function takeNext(after: number, holder: string): boolean {
    const last = db.prepare<[], { term: number }>("SELECT term FROM lease WHERE id = 1").get()?.term ?? 0;
    if (last !== after) return false;
    db.prepare(
      `INSERT INTO lease (id, term, beat, holder) VALUES (1, ?, 0, ?)
       ON CONFLICT (id) DO UPDATE SET term = excluded.term, beat = 0, holder = excluded.holder`,
    ).run(after + 1, holder);
    return true;
  }

  return {
    read: () => db.prepare<[], LeaseRow>("SELECT term, beat, holder FROM lease WHERE id = 1").get() ?? null,
    take(after, holder) {
      try {
        return write(() => takeNext(after, holder));
      } catch (error) {
        // The one that hangs does so in a transaction; it may still be ended, or end it.
        if ((error as { code?: string }).code?.startsWith("SQLITE_BUSY")) return false;
        throw error;
      }
    },
    beat: (term) =>
      write(
        () =>
          db.prepare("UPDATE lease SET beat = beat + 1 WHERE id = 1 AND term = ?").run(term).changes === 1,
      ),
  };
}

/** A transaction was begun by a daemon that is not the store's any more. Nothing of it was written. */
export class FencedError extends Error {
  override readonly name = "FencedError";
  constructor(term: number) {
    super(`another daemon has taken the store over (this one had term ${term}); nothing is written any more`);
  }
}

export interface LeaseOptions {
  readonly rows: LeaseRows;
  /** The kernel's lock of that term; null while its holder lives. */
  readonly lock: (term: number) => (() => void) | null;
  /** What is written of this daemon. */
  readonly holder: string;
  readonly clock: Clock;
  readonly signal?: AbortSignal;
  /** Ends a holder that hangs, since it may have the ports and the terraform runs: as far as it can be ended. */
  readonly end: (holder: string) => Promise<void>;
  /** Said once for each holder that is waited for. */
  readonly onWait: (holder: string) => void;
  readonly onTakeOver: (holder: string, why: "gone" | "hung") => void;
}

export interface Lease {
  readonly term: number;
  /**
   * Beats until `release`, or until another has taken the term over; then `onLost` is called, once. A beat that cannot be
   * written says nothing: the next one may.
   */
  keep(onLost: () => void): void;
  release(): void;
}

/**
 * Waits until the store is this daemon's.
 * @throws the signal's reason when it is aborted before
 */
export async function acquireLease(options: LeaseOptions): Promise<Lease> {
  const { rows, clock, signal } = options;
  let seen: LeaseRow | null = null;
  let looks = 0;
  for (;;) {
    signal?.throwIfAborted();
    const row = rows.read();
    looks = row !== null && row.term === seen?.term && row.beat === seen.beat ? looks + 1 : 0;
    const freed = row === null ? () => {} : options.lock(row.term);
    if (freed !== null) {
      const lease = take(row, freed, options);
      if (lease) {
        if (row && seen) options.onTakeOver(row.holder, "gone");
        return lease;
      }
    } else if (row !== null && looks >= patienceLooks) {
      await options.end(row.holder);
      const lease = take(row, () => {}, options);
      if (lease) {
        options.onTakeOver(row.holder, "hung");
        return lease;
      }
    }
    if (row !== null && row.term !== seen?.term) options.onWait(row.holder);
    seen = row;
    await clock.delay(lookMs, signal);
  }
}

/** Null when somebody else was quicker. */
function take(row: LeaseRow | null, freed: () => void, options: LeaseOptions): Lease | null {
  const { rows, clock, holder } = options;
  const term = (row?.term ?? 0) + 1;
  // The lock first: whoever sees the new term must find its holder alive.
  const unlock = options.lock(term);
  if (unlock === null || !rows.take(term - 1, holder)) {
    unlock?.();
    freed();
    return null;
  }
  freed();
  const done = new AbortController();
  return {
    term,
    keep(onLost) {
      void (async () => {
        for (;;) {
          await clock.delay(beatMs, done.signal);
          if (done.signal.aborted) return;
          let ours = true;
          try {
            ours = rows.beat(term);
          } catch {
            // A full disk, a lock that was held too long: if it lasts the daemon's other writes say so.
          }
          if (!ours) return onLost();
        }
      })();
    },
    release() {
      done.abort();
      unlock();
    },
  };
}

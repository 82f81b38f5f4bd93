/** One writer for a store: who waits for whom, who takes over when, and that a daemon which was given up writes nothing. */
import { strict as assert } from "node:assert";
import { type ChildProcess, spawn } from "node:child_process";
import { on, once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import Database from "better-sqlite3";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { leaseStore, lockWithoutDaemon } from "../../pool/store/daemon-lease.ts";
import {
  acquireLease,
  FencedError,
  type Lease,
  type LeaseRow,
  type LeaseRows,
  leaseRows,
  leaseTable,
} from "../../pool/store/lease.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import { emptyStore, watchTransactions } from "../sim/database.ts";
import { fastClock, VirtualClock } from "../virtual-clock.ts";

const second = 1_000;

describe("the store's lease", () => {
  let db: Database.Database;
  let rows: LeaseRows;
  let clock: VirtualClock;
  /** Terms whose holder lives. */
  let alive: Set<number>;
  let told: string[];
  let ends: (holder: string) => void;

  beforeEach(() => {
    db = new Database(":memory:");
    db.exec(leaseTable);
    rows = leaseRows(db);
    clock = new VirtualClock();
    alive = new Set();
    told = [];
    ends = () => {};
  });
  afterEach(() => db.close());

  const lock = (term: number) => {
    if (alive.has(term)) return null;
    alive.add(term);
    return () => void alive.delete(term);
  };
  const acquire = (holder: string, signal?: AbortSignal) =>
    acquireLease({
      rows,
      lock,
      holder,
      clock,
      ...(signal ? { signal } : {}),
      end: async (of) => {
        told.push(`end ${of}`);
        ends(of);
      },
      onWait: (of) => told.push(`${holder} waits for ${of}`),
      onTakeOver: (of, why) => told.push(`${holder} after ${of}: ${why}`),
    });

  /** How long it took, in seconds. */
  async function timed<T>(work: Promise<T>): Promise<{ value: T; took: number }> {
    const from = clock.now();
    const value = await clock.until(work);
    return { value, took: (clock.now() - from) / second };
  }

  it("is had at once where nobody has it, and the term grows with each holder", async () => {
    for (const term of [1, 2, 3]) {
      const { value, took } = await timed(acquire("a"));
      assert.deepEqual([value.term, took], [term, 0]);
      value.release();
    }
    assert.deepEqual(told, [], "a restart waits for nobody");
  });

  it("is waited for as long as its holder beats, and had within a look when it is gone", async () => {
    const first = await acquire("first");
    first.keep(() => assert.fail("it was not lost"));
    const waiting = acquire("second");
    await clock.advance(3_600 * second);
    assert.deepEqual(told, ["second waits for first"]);
    first.release();
    const { value, took } = await timed(waiting);
    assert.ok(took <= 1, `${took} s`);
    assert.equal(value.term, 2);
    assert.deepEqual(told.slice(1), ["second after first: gone"]);
    value.release();
  });

  it("is taken within 40 s from one that hangs, which is ended if it can be, and told if it wakes", async () => {
    const first = await acquire("first");
    const { value: next, took } = await timed(acquire("second"));
    assert.ok(took > 25 && took <= 40, `${took} s`);
    assert.deepEqual(told, ["second waits for first", "end first", "second after first: hung"]);
    assert.equal(rows.beat(first.term), false);
    let lost = 0;
    first.keep(() => {
      lost += 1;
    });
    await clock.advance(60 * second);
    assert.equal(lost, 1);
    next.keep(() => assert.fail("the second has it"));
    // The one that woke keeps its own term's lock; that says nothing of the second.
    const third = acquire("third");
    await clock.advance(120 * second);
    assert.equal(rows.read()?.term, next.term);
    next.release();
    (await clock.until(third)).release();
  });

  it("goes to one of many that wait", async () => {
    const first = await acquire("first");
    const held: Lease[] = [];
    for (const name of ["a", "b", "c"]) {
      void acquire(name).then((lease) => {
        held.push(lease);
        lease.keep(() => assert.fail(`${name} lost it`));
      });
    }
    await clock.advance(10 * second);
    first.release();
    for (const term of [2, 3, 4]) {
      await clock.advance(60 * second);
      assert.equal(held.length, term - 1);
      assert.equal(held.at(-1)?.term, term);
      held.at(-1)?.release();
    }
  });

  it("is not waited for any more when the wait is called off", async () => {
    await acquire("first");
    const stop = new AbortController();
    const waiting = acquire("second", stop.signal);
    await clock.advance(5 * second);
    stop.abort(new Error("called off"));
    await assert.rejects(clock.until(waiting), /called off/);
  });

  it("survives a beat that could not be written", async () => {
    let broken = true;
    const faulty: LeaseRows = {
      ...rows,
      beat(term) {
        if (broken) throw new Error("disk full");
        return rows.beat(term);
      },
    };
    const lease = await acquireLease({
      rows: faulty,
      lock,
      holder: "one",
      clock,
      end: async () => {},
      onWait: () => {},
      onTakeOver: () => {},
    });
    lease.keep(() => assert.fail("it was not lost"));
    await clock.advance(30 * second);
    broken = false;
    await clock.advance(10 * second);
    assert.equal((rows.read() as LeaseRow).beat, 1);
    lease.release();
  });
});

describe("two daemons on one store", function () {
  this.timeout(60_000);
  const child = fileURLToPath(new URL("lease-child.ts", import.meta.url));
  let dir: string;
  const children: ChildProcess[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-lease-"));
  });
  afterEach(() => {
    for (const each of children.splice(0)) each.kill("SIGKILL");
    rmSync(dir, { recursive: true });
  });

  function start(...args: string[]) {
    const started = spawn(process.execPath, [child, dir, ...args], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(started);
    const lines = on(createInterface({ input: started.stdout }), "line");
    return {
      process: started,
      async hears(): Promise<string> {
        const { value } = await lines.next();
        return String(value?.[0]);
      },
      tell: (line: string) => void started.stdin.write(`${line}\n`),
      async kill() {
        const exited = once(started, "exit");
        started.kill("SIGKILL");
        await exited;
      },
    };
  }

  it("the second waits, says for whom, and goes on when the first was killed", async () => {
    const first = start();
    assert.equal(await first.hears(), "holds 1");
    first.tell("beat");
    const second = start();
    assert.match(
      await second.hears(),
      new RegExp(`^waiting: the daemon of \\S+ \\(process ${first.process.pid} on \\S+\\) runs on ${dir}, `),
    );
    first.tell("first");
    assert.equal(await first.hears(), "wrote");
    await first.kill();
    assert.match(await second.hears(), /is gone: taking over$/);
    assert.equal(await second.hears(), "holds 2");
    second.tell("second");
    assert.equal(await second.hears(), "wrote");
    assert.deepEqual(
      readdirSync(dir).filter((name) => /^daemon\.\d+\.lock$/.test(name)),
      ["daemon.2.lock"],
    );
    assert.equal(statSync(join(dir, "clawpool.sqlite")).mode & 0o777, 0o600);
  });

  it("one that hangs is taken over, and when it wakes it writes nothing and is told so", async () => {
    const first = start();
    assert.equal(await first.hears(), "holds 1");
    first.tell("beat");
    first.process.kill("SIGSTOP");
    const second = start("leave-hung");
    assert.match(await second.hears(), /^waiting: /);
    assert.match(await second.hears(), /hangs: taking over$/);
    assert.equal(await second.hears(), "holds 2");
    second.tell("second");
    assert.equal(await second.hears(), "wrote");
    first.tell("first");
    first.process.kill("SIGCONT");
    const heard = [await first.hears(), await first.hears(), await first.hears()].sort();
    assert.deepEqual(heard, ["FencedError", "fenced", "lost"]);
    const store = openSqliteStore({
      file: join(dir, "clawpool.sqlite"),
      sealer: createSealer([newSealingKey()]),
    });
    assert.equal(store.setting("writer"), "second");
    store.close();
  });

  it("one that hangs is ended by its successor, so that its sockets and terraform's gate are free", async () => {
    const first = start();
    assert.equal(await first.hears(), "holds 1");
    const exited = once(first.process, "exit");
    first.process.kill("SIGSTOP");
    const second = start("end-hung");
    assert.match(await second.hears(), /^waiting: /);
    assert.match(await second.hears(), /hangs: taking over$/);
    assert.deepEqual(await exited, [null, "SIGKILL"]);
    assert.equal(await second.hears(), "holds 2");
  });

  it("every verb that writes is refused to a daemon that was fenced, and reading is not", async () => {
    const file = join(dir, "clawpool.sqlite");
    const clock = new VirtualClock();
    const lease = await leaseStore({ stateDir: dir, clock, log: { warn: () => {} } });
    const sealer = createSealer([newSealingKey()]);
    let fenced = 0;
    const onFenced = () => {
      fenced += 1;
    };
    const store = openSqliteStore({ file, sealer, fence: { term: lease.term, onFenced } });
    const other = openSqliteStore({ file, sealer });
    try {
      store.putSetting("a", "1");
      assert.equal(store.leads(), true);
      const raw = new Database(file);
      assert.equal(leaseRows(raw).take(lease.term, "another"), true);
      raw.close();
      assert.equal(store.leads(), false);
      const before = other.auditRows({ limit: 1_000 });
      // Arguments do not matter: nothing of a verb that begins a transaction may run.
      const like = emptyStore(clock);
      let refused = 0;
      for (const verb of Object.keys(store) as (keyof typeof store)[]) {
        if (verb === "close") continue;
        const call = (of: typeof store) => {
          try {
            (of[verb] as (...args: unknown[]) => unknown)("o-1", {}, {}, "why", { actor: "x" });
          } catch (error) {
            return error;
          }
        };
        let writes = false;
        const begins = () => {
          writes = true;
        };
        watchTransactions({ begins, ended: () => {} }, () => call(like), []);
        assert.equal(call(store) instanceof FencedError, writes, verb);
        refused += Number(writes);
      }
      like.close();
      assert.ok(refused >= 20, `${refused} verbs were refused`);
      assert.equal(fenced, refused);
      assert.equal(store.setting("a"), "1");
      assert.deepEqual(other.auditRows({ limit: 1_000 }), before);
    } finally {
      store.close();
      other.close();
      lease.release();
    }
  });

  it("a command that needs the folder to itself keeps daemons out, and is kept out by one", async () => {
    const clock = fastClock(30);
    const waits = Promise.withResolvers<string>();
    const log = { warn: (text: unknown) => waits.resolve(String(text)) };
    (await leaseStore({ stateDir: dir, clock, log })).release();
    const unlock = lockWithoutDaemon(dir);
    assert.ok(unlock);
    assert.equal(lockWithoutDaemon(dir), null);
    const waiting = leaseStore({ stateDir: dir, clock, log });
    assert.match(await waits.promise, /or a command works on it/);
    unlock();
    const lease = await waiting;
    assert.equal(lockWithoutDaemon(dir), null);
    lease.release();
    lockWithoutDaemon(dir)?.();
  });
});

import { strict as assert } from "node:assert";
import { pino } from "pino";
import { createRecords, type RecordFiles } from "../../pool/recovery/records.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";
import { makeReady, newOrder, pay } from "../store/rows.ts";

const log = pino({ level: "silent" });
const sealer = createSealer([newSealingKey()]);

describe("the records beside the database", () => {
  let store: Store;
  let kept: Map<string, string>;
  /** Why nothing can be done with a file of this name. */
  let broken: (name: string) => string | null;
  let writes: string[];

  const files: RecordFiles = {
    list: async () => {
      check("list");
      return [...kept.keys()].sort();
    },
    read: async (name) => {
      check(name);
      return kept.get(name) ?? null;
    },
    write: async (name, text) => {
      writes.push(name);
      check(name);
      kept.set(name, text);
    },
    remove: async (name) => {
      check(name);
      kept.delete(name);
    },
  };
  function check(name: string): void {
    const reason = broken(name);
    if (reason !== null) throw new Error(reason);
  }
  const full = () => "ENOSPC: no space left on device";
  const sound = () => null;
  const create = (own: Store = store) => {
    records = createRecords({ store: own, sealer, files, log });
    return records;
  };
  let records: ReturnType<typeof createRecords>;
  const flagged = () => store.flags().find(({ kind }) => kind === "record-not-written")?.text;
  const stateOf = async (name: string) => (await records.machines()).get(name)?.machine.state;

  beforeEach(async () => {
    kept = new Map();
    broken = sound;
    writes = [];
    store = openSqliteStore({
      file: ":memory:",
      sealer,
      onMachine: (machine) => records.machineChanged(machine),
      onOrderEvent: ({ type, order }) => type === "state" && records.orderChanged(order),
    });
    await create().catchUp();
    makeReady(store, "m-1");
    store.createOrder(newOrder("o-1"));
    await records.settled();
  });
  afterEach(() => store.close());

  it("follow each commit", async () => {
    assert.deepEqual([...kept.keys()], ["machine-m-1", "order-o-1"]);
    pay(store, "o-1");
    await records.settled();
    assert.equal(await stateOf("m-1"), "claimed");
    assert.equal((await records.orders()).get("o-1")?.order.state, "provisioning");
  });

  it("are tried again when they could not be written, and a person is told as long as one is not", async () => {
    broken = full;
    pay(store, "o-1");
    await records.settled();
    assert.match(flagged() ?? "", /machine-m-1, order-o-1 \(ENOSPC: no space left on device\).*Make room/);
    broken = (name) => (name === "machine-m-1" ? "EIO: i/o error" : null);
    await records.retry();
    assert.match(flagged() ?? "", /not up to date: machine-m-1 \(EIO/);
    assert.equal(await records.orders().then((found) => found.get("o-1")?.order.state), "provisioning");
    broken = sound;
    assert.equal(await stateOf("m-1"), "ready");
    await records.retry();
    assert.equal(flagged(), undefined);
    assert.equal(await stateOf("m-1"), "claimed");
    writes = [];
    await records.retry();
    assert.deepEqual(writes, []);
  });

  it("name no more than a few in the flag", async () => {
    broken = full;
    for (const name of ["m-2", "m-3", "m-4", "m-5", "m-6", "m-7"]) makeReady(store, name);
    await records.settled();
    assert.match(
      flagged() ?? "",
      /: machine-m-2, machine-m-3, machine-m-4, machine-m-5, machine-m-6 and 1 more \(/,
    );
  });

  it("are written by the next daemon when one died behind the commit, which ends the flag", async () => {
    broken = full;
    pay(store, "o-1");
    await records.settled();
    broken = sound;
    await create().catchUp();
    assert.equal(await stateOf("m-1"), "claimed");
    assert.equal(flagged(), undefined);
  });

  it("end an older flag also where nothing is left to write", async () => {
    const empty = openSqliteStore({ file: ":memory:", sealer });
    empty.flag("record-not-written", "records", "of a machine that is gone");
    await create(empty).catchUp();
    assert.deepEqual(empty.flags(), []);
    empty.close();
  });

  it("keep no daemon from starting when the folder cannot be read: it catches up when it can", async () => {
    broken = full;
    pay(store, "o-1");
    await records.settled();
    broken = (name) => (name === "list" ? "EIO: i/o error" : null);
    await create().catchUp();
    assert.match(flagged() ?? "", /not up to date: every record \(EIO/);
    broken = sound;
    await records.retry();
    assert.equal(await stateOf("m-1"), "claimed");
    assert.equal(flagged(), undefined);
  });

  it("are tried again although the store takes no flag", async () => {
    const mute = () => {
      throw new Error("SQLITE_FULL");
    };
    create({ ...store, flag: mute, clearFlag: mute });
    await records.catchUp();
    broken = full;
    pay(store, "o-1");
    await records.settled();
    broken = sound;
    await records.retry();
    assert.equal(await stateOf("m-1"), "claimed");
  });

  it("say in quarantine what they said before, and follow when it is over", async () => {
    store.enterQuarantine("a backup was restored");
    await create().catchUp();
    writes = [];
    store.createOrder(newOrder("o-2"));
    pay(store, "o-1");
    await records.settled();
    await records.retry();
    assert.deepEqual(writes, []);
    store.releaseMachine("m-1" as never, { deadline: null }, "released");
    store.endQuarantine("over");
    await records.retry();
    assert.deepEqual([...kept.keys()].sort(), ["machine-m-1", "order-o-1", "order-o-2"]);
    assert.equal((await records.orders()).get("o-1")?.order.state, "queued");
  });

  it("that cannot be read are no evidence that there are none; one that does not open is left out", async () => {
    broken = (name) => (name === "order-o-1" ? "EIO: i/o error" : null);
    await assert.rejects(records.orders(), /EIO/);
    broken = sound;
    kept.set("order-o-2", kept.get("order-o-1") ?? "");
    kept.set("order-o-3", "{}");
    assert.deepEqual([...(await records.orders()).keys()], ["o-1"]);
  });
});

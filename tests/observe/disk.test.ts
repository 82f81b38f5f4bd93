import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { diskLow, diskUse, usualDiskLimits, watchDisk } from "../../pool/observe/disk.ts";
import { createSealer, newSealingKey } from "../../pool/secrets/seal.ts";
import { openSqliteStore } from "../../pool/store/sqlite.ts";
import type { Store } from "../../pool/store/store.ts";

describe("the disk of the state folder", () => {
  let stateDir: string;
  let store: Store;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), "clawpool-disk-"));
    store = openSqliteStore({
      file: join(stateDir, "clawpool.sqlite"),
      sealer: createSealer([newSealingKey()]),
    });
  });
  afterEach(() => {
    store.close();
    rmSync(stateDir, { recursive: true });
  });

  it("is measured as df does, with the log beside the store", async () => {
    const { freeBytes, logBytes } = diskUse(stateDir);
    assert.equal(logBytes, statSync(join(stateDir, "clawpool.sqlite-wal")).size);
    assert(logBytes > 0);
    const { stdout } = await execa("df", ["--output=avail", "--block-size=1", stateDir]);
    const avail = Number(stdout.split("\n")[1]);
    // Others write meanwhile.
    assert(Math.abs(freeBytes - avail) < 0.1 * avail, `${freeBytes} and ${avail}`);
  });

  it("is told once when it is low, and is over when there is room, not when there is a little more", () => {
    const { lowBytes, roomBytes } = usualDiskLimits;
    const told = (freeBytes: number) => {
      watchDisk({ store, stateDir, look: () => ({ freeBytes, logBytes: 0 }) });
      return store.flags().map(({ kind, subject }) => `${kind} ${subject}`);
    };
    const low = [`${diskLow} ${stateDir}`];
    assert.deepEqual(told(lowBytes), []);
    assert.deepEqual(told(lowBytes - 1), low);
    assert.deepEqual(told(1), low);
    assert.deepEqual(told(roomBytes - 1), low);
    assert.deepEqual(told(roomBytes), []);
    const { length } = store
      .auditRows({ limit: 100 })
      .filter(({ action }) => action.startsWith(`flag.${diskLow}`));
    assert.equal(length, 2);
  });
});

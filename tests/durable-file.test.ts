import { strict as assert } from "node:assert";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { replaceFile } from "../pool/durable-file.ts";

describe("a durable file", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "clawpool-durable-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it("is what was written last, whole, when several write it at once, and leaves no draft", async () => {
    const file = join(dir, "head.json");
    const texts = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(10_000 - 400 * index));
    await Promise.all(texts.map((text) => replaceFile(file, text)));
    assert.equal(readFileSync(file, "utf8"), texts.at(-1));
    assert.deepEqual(readdirSync(dir), ["head.json"]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
  });

  it("says of each write by itself that it failed", async () => {
    const file = join(dir, "gone", "head.json");
    const failed = replaceFile(file, "one");
    const again = replaceFile(file, "two");
    await assert.rejects(failed, { code: "ENOENT" });
    await assert.rejects(again, { code: "ENOENT" });
    const there = join(dir, "head.json");
    await replaceFile(there, "three");
    assert.equal(readFileSync(there, "utf8"), "three");
  });
});

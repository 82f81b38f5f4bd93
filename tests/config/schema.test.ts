import { strict as assert } from "node:assert";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { parse } from "yaml";
import { durationText } from "../../pool/config/duration.ts";
import { jsonSchema } from "../../pool/config/shape.ts";
import { makeCliRig } from "../cli/rig.ts";
import { example } from "./example.ts";

describe("the JSON Schema of clawpool.yaml", () => {
  // cidrv4 and its like are zod's own; ajv knows none of them.
  const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(jsonSchema() as object);
  const errors = (text: string) => {
    validate(parse(text));
    return (validate.errors ?? []).map(({ instancePath, keyword }) => `${instancePath} ${keyword}`);
  };

  it("is published as docs/config.schema.json (clawpool config schema >docs/config.schema.json)", () => {
    const published = readFileSync(join(import.meta.dirname, "../../docs/config.schema.json"), "utf8");
    assert.deepEqual(JSON.parse(published), JSON.parse(JSON.stringify(jsonSchema())));
  });

  it("accepts the example, and refuses what the command refuses", () => {
    assert.deepEqual(errors(example), []);
    assert.notDeepEqual(errors(example.replace("min_ready", "min_raedy")), []);
    assert.notDeepEqual(errors(example.replace("min_ready: 3", "min_ready: three")), []);
    assert.notDeepEqual(errors(example.replace("{ env: HCLOUD }", "secret")), []);
    assert.notDeepEqual(errors(`${example}\nrelease_grace: 5`), []);
  });

  it("shows defaults as one would write them", () => {
    const seen: string[] = [];
    const look = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return;
      const { pattern, default: value } = node as { pattern?: string; default?: unknown };
      if (pattern?.includes("ms|s|m|h|d") && value !== undefined) {
        assert.match(String(value), new RegExp(pattern), path);
        seen.push(String(value));
      }
      for (const [key, child] of Object.entries(node)) look(child, `${path}/${key}`);
    };
    look(jsonSchema(), "");
    assert.ok(seen.includes("14d") && seen.includes("30s"), seen.join());
  });

  it("writes a duration in the largest unit that is exact", () => {
    const hour = 3_600_000;
    assert.deepEqual([0, 1, 1_500, 90_000, hour, 36 * hour, 48 * hour].map(durationText), [
      "0s",
      "1ms",
      "1500ms",
      "90s",
      "1h",
      "36h",
      "2d",
    ]);
  });

  it("is named in the file that `clawpool init` writes, beside it, and accepts that file", async function () {
    this.timeout(60_000);
    const rig = makeCliRig();
    const secrets = mkdtempSync(join(tmpdir(), "clawpool-schema-"));
    try {
      const { exitCode } = await rig.run("init", "--state-dir", rig.stateDir, "--secrets", secrets);
      assert.equal(exitCode, 0);
      const text = readFileSync(rig.configFile, "utf8");
      const [, name = ""] = /^# yaml-language-server: \$schema=\.\/(\S+)$/m.exec(text) ?? [];
      assert.deepEqual(
        JSON.parse(readFileSync(join(rig.dir, name), "utf8")),
        JSON.parse(JSON.stringify(jsonSchema())),
      );
      assert.deepEqual(errors(text), []);
    } finally {
      rig.remove();
      rmSync(secrets, { recursive: true });
    }
  });
});

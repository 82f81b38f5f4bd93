import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "dotenv";
import fc from "fast-check";

const here = (path: string) => new URL(`../../ansible/files/${path}`, import.meta.url);
// Plain JavaScript for the machine; outside of what tsc checks.
const { encodeEnv, quoted } = (await import(here("machine/env-file.mjs").href)) as {
  encodeEnv(values: Record<string, string>): string;
  quoted(value: string): string | null;
};
const secretsCommand = fileURLToPath(here("clawpool-secrets.awk"));

const name = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,12}$/);
/** Texts made of what quoting, comments, expansion and line handling stumble over. */
const awkward = fc.string({
  unit: fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        "'",
        '"',
        "`",
        "\\",
        "#",
        "=",
        " ",
        "$",
        "{",
        "}",
        "n",
        "r",
        "\t",
        "é",
        "🦞",
      ),
    },
    { weight: 2, arbitrary: fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }) },
    { weight: 2, arbitrary: fc.constantFrom("a", "B", "7", "-", ".", "/") },
  ),
  maxLength: 24,
});
const values = fc.dictionary(
  name,
  awkward.filter((value) => quoted(value) !== null),
  { maxKeys: 8, noNullPrototype: true },
);

describe("the agent's .env", () => {
  it("is read back by dotenv as it was given", () => {
    fc.assert(
      fc.property(values, (given) => assert.deepEqual({ ...parse(encodeEnv(given)) }, { ...given })),
      { numRuns: 3_000 },
    );
  });

  it("is read back by the gateway's secrets command as it was given", () => {
    const dir = mkdtempSync(join(tmpdir(), "clawpool-env-"));
    const file = join(dir, ".env");
    try {
      fc.assert(
        fc.property(values, (given) => {
          writeFileSync(file, encodeEnv(given));
          const input = JSON.stringify({
            protocolVersion: 1,
            provider: "dotenv",
            ids: [...Object.keys(given), "absent"],
          });
          const answer = JSON.parse(
            execFileSync(secretsCommand, [file], { input, encoding: "utf8", env: {} }),
          );
          assert.deepEqual(answer, {
            protocolVersion: 1,
            values: given,
            errors: { absent: { code: "NOT_FOUND" } },
          });
        }),
        { numRuns: 200 },
      );
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it("carries every usual shape of a key", () => {
    for (const value of [
      "",
      "sk-ant-api03-a_B-9",
      "123456:AAF-x",
      "a b",
      "it's",
      '"',
      "a#b",
      "$HOME",
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a value, not a template
      "${A}",
      "$(id)",
      "x\\",
      "p'w\"d",
    ]) {
      assert.notEqual(quoted(value), null, value);
    }
  });

  it("refuses what no line of dotenv's can carry", () => {
    for (const value of ["a\nb", "a\r\nb", "a\0b", "\u2028", "\ud800", "'`\"", "a b\\"]) {
      assert.equal(quoted(value), null, JSON.stringify(value));
    }
  });

  it("takes what a customer wrote by hand in the ways that dotenv does", () => {
    const dir = mkdtempSync(join(tmpdir(), "clawpool-env-"));
    const text = "# mine\nexport A = one # note\nB=\"two words\"\n\n  C='it''s'\nD=\r\nE=x=y\n";
    writeFileSync(join(dir, ".env"), text);
    try {
      const input = JSON.stringify({ ids: ["A", "B", "D", "E"] });
      const answer = JSON.parse(
        execFileSync(secretsCommand, [join(dir, ".env")], { input, encoding: "utf8" }),
      );
      const { A, B, D, E } = parse(text);
      assert.deepEqual(answer.values, { A, B, D, E });
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

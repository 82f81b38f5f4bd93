import { strict as assert } from "node:assert";
import { decodeForm } from "./form.ts";

describe("decodeForm", () => {
  const cases: [string, unknown][] = [
    ["", {}],
    ["a=1&b=", { a: "1", b: "" }],
    ["a%5Bb%5D=x%20y%2Bz", { a: { b: "x y+z" } }],
    ["l[0][p]=a&l[0][q]=1&l[1][p]=b", { l: [{ p: "a", q: "1" }, { p: "b" }] }],
    ["e[]=x&e[]=y", { e: ["x", "y"] }],
    ["m[0]=zero&m[k]=v", { m: { 0: "zero", k: "v" } }],
    ["a=1&a[b]=2", { a: "1" }],
  ];
  for (const [text, value] of cases) {
    it(`reads ${text || "nothing"}`, () => assert.deepEqual(decodeForm(text), value));
  }

  it("takes names of Object's own as plain names", () => {
    const form = decodeForm("__proto__[x]=1&constructor=2");
    assert.equal(({} as Record<string, unknown>).x, undefined);
    assert.deepEqual(Object.keys(form), ["__proto__", "constructor"]);
  });
});

import assert from "node:assert/strict";
import { parseLabelSelector } from "./label-selector.ts";
import { assertError, publicKey, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: lists", () => {
  let rig: Rig;
  before(async () => {
    rig = await startRig();
    for (let index = 0; index < 60; index++) {
      await rig.must("POST", "/ssh_keys", {
        name: `key-${String(index).padStart(2, "0")}`,
        public_key: publicKey(String.fromCharCode(48 + index)),
        labels: index % 2 ? { parity: "odd", index: String(index) } : { parity: "even" },
      });
    }
  });
  after(() => rig.close());

  const names = async (query: string) =>
    (await rig.must("GET", `/ssh_keys?${query}`)).ssh_keys.map((key) => key.name);

  it("come in pages of 25 with meta and Link", async () => {
    const { body, headers } = await rig.call("GET", "/ssh_keys?page=2&sort=name");
    assert.deepEqual(body.meta.pagination, {
      page: 2,
      per_page: 25,
      previous_page: 1,
      next_page: 3,
      last_page: 3,
      total_entries: 60,
    });
    assert.deepEqual([body.ssh_keys[0]?.name, body.ssh_keys.length], ["key-25", 25]);
    assert.equal(
      headers.get("link"),
      [
        '<https://api.hetzner.cloud/v1/ssh_keys?page=1&sort=name>; rel="prev"',
        '<https://api.hetzner.cloud/v1/ssh_keys?page=3&sort=name>; rel="next"',
        '<https://api.hetzner.cloud/v1/ssh_keys?page=3&sort=name>; rel="last"',
      ].join(", "),
    );
  });

  it("can be walked to the end, which next_page tells by null", async () => {
    const seen: string[] = [];
    for (let page: number | null = 1; page !== null; ) {
      const body = await rig.must("GET", `/ssh_keys?page=${page}&per_page=50`);
      seen.push(...body.ssh_keys.map((key) => key.name));
      page = body.meta.pagination.next_page;
    }
    assert.equal(new Set(seen).size, 60);
  });

  it("never give more than 50 a page, and nothing beyond the last", async () => {
    assert.equal((await names("per_page=500")).length, 50);
    assert.deepEqual(await names("page=9"), []);
    for (const query of ["page=0", "page=x", "per_page=-1", "page=1.5"]) {
      assertError(
        await rig.call("GET", `/ssh_keys?${query}`),
        422,
        "invalid_input",
        query.split("=")[0] ?? "",
      );
    }
  });

  it("find a name exactly", async () => {
    assert.deepEqual(await names("name=key-07"), ["key-07"]);
    assert.deepEqual(await names("name=key-0"), []);
    assert.deepEqual(await names("name="), []);
  });

  it("sort by what the operation allows", async () => {
    assert.equal((await names("sort=name:desc"))[0], "key-59");
    assert.equal((await names("sort=id:desc&per_page=1"))[0], "key-59");
    assertError(await rig.call("GET", "/ssh_keys?sort=colour"), 422, "invalid_input", "sort");
    assertError(await rig.call("GET", "/ssh_keys?sort=id:up"), 422, "invalid_input", "sort");
    assertError(await rig.call("GET", "/ssh_keys?sort=constructor"), 422, "invalid_input", "sort");
  });

  it("select by labels", async () => {
    assert.equal((await names("per_page=50&label_selector=parity%3D%3Dodd")).length, 30);
    assert.deepEqual(await names(`label_selector=${encodeURIComponent("index in (3,5)")}`), [
      "key-03",
      "key-05",
    ]);
    assertError(
      await rig.call("GET", "/ssh_keys?label_selector=a%20b"),
      422,
      "invalid_input",
      "label_selector",
    );
  });

  it("belong to the token's project", async () => {
    assert.deepEqual((await rig.call("GET", "/ssh_keys", undefined, "B".repeat(64))).body.ssh_keys, []);
  });
});

describe("Hetzner emulator: label selectors", () => {
  const labels = { env: "prod", "example.com/tier": "1", bare: "" };
  const cases: [string, boolean][] = [
    ["", true],
    ["env==prod", true],
    ["env=prod", true],
    ["env == prod", true],
    ["env=test", false],
    ["env!=test", true],
    ["env!=prod", false],
    ["other!=x", true],
    ["env", true],
    ["other", false],
    ["!env", false],
    ["!other", true],
    ["bare=", true],
    ["env in (test,prod)", true],
    ["env in ( test , prod )", true],
    ["env in (test)", false],
    ["env notin (test)", true],
    ["env notin (prod)", false],
    ["other notin (x)", true],
    ["other in (x)", false],
    ["example.com/tier=1,env=prod", true],
    ["env=prod,!bare", false],
    ["env in (prod,test),bare", true],
    ["toString", false],
  ];
  for (const [selector, expected] of cases) {
    it(`'${selector}' ${expected ? "selects" : "does not select"}`, () => {
      assert.equal(parseLabelSelector(selector)(labels), expected);
    });
  }
  for (const selector of [
    "a b",
    "a==b==c",
    "a in b",
    "a in (b",
    ",",
    "a,",
    "in (a)",
    "-a",
    "a=-",
    "a in (b c)",
  ]) {
    it(`'${selector}' cannot be read`, () => {
      assert.throws(() => parseLabelSelector(selector), /label selector/);
    });
  }
});

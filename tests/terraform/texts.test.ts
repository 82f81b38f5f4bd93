import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Secret } from "../../pool/secrets/secret.ts";
import { classify, terraformError } from "../../pool/terraform/errors.ts";
import { parseLog } from "../../pool/terraform/json-log.ts";
import { terraformEnvironment } from "../../pool/terraform/run.ts";
import { parseStackInputs } from "../../pool/terraform/stack-inputs.ts";
import { readState } from "../../pool/terraform/state-file.ts";

describe("terraform's diagnostics", () => {
  // Texts as recorded of terraform-provider-hcloud 1.68.0.
  const cases: readonly (readonly [string, string, string | undefined])[] = [
    ["error during placement (resource_unavailable, 54aeb0a45b939907)", "capacity", "resource_unavailable"],
    ["error during placement (placement_error, b687692e15ae8487)", "capacity", "placement_error"],
    ["server limit exceeded (resource_limit_exceeded, be30cd1e8cbd8814)", "quota", "resource_limit_exceeded"],
    ["server limit reached (server_limit_reached, d30eaa512f499af2)", "quota", "server_limit_reached"],
    ["the token you have provided is invalid (unauthorized, 848f0a800ae2210e)", "auth", "unauthorized"],
    ["only read operations are allowed with this token (token_readonly)", "auth", "token_readonly"],
    [
      "limit of 3600 requests per hour reached (rate_limit_exceeded, a6ba)",
      "transient",
      "rate_limit_exceeded",
    ],
    ["resource is locked (locked, ac38fbd7c90ab8c1)", "transient", "locked"],
    ["internal server error (server_error, c1b8c0123cbd610a)", "transient", "server_error"],
    ["Action failed (action_failed, 1000047)", "transient", "action_failed"],
    ["hcloud: server responded with status code 503", "transient", "http_503"],
    ["hcloud: server responded with status code 429", "transient", "http_429"],
    ['Post "http://127.0.0.1:9100/v1/servers": EOF', "transient", undefined],
    ["actions not found: [1000047]", "transient", undefined],
    ["Error acquiring the state lock", "transient", undefined],
    ["server name is already used (uniqueness_error, 31446c201372dd22)", "permanent", "uniqueness_error"],
    ["server deletion is protected (protected, 7b941da1545394a8)", "permanent", "protected"],
    [
      "invalid input in field 'name' (invalid_input, 11519b73309a449b): [name => [must be a valid hostname]]",
      "permanent",
      "invalid_input",
    ],
  ];
  for (const [summary, kind, code] of cases) {
    it(`are ${kind}: ${summary}`, () => {
      const found = classify({ summary, detail: "" });
      assert.deepEqual([found.kind, found.code], [kind, code]);
    });
  }

  it("of the provider's newer half have the code in the detail", () => {
    const detail =
      "An unexpected error was encountered during an API request.\n\nservice unavailable (unavailable, ed67)\n\nError code: unavailable\nStatus code: 503\n";
    assert.equal(classify({ summary: "API request failed", detail }).kind, "transient");
  });

  it("become the one error that somebody could act on", () => {
    const error = (summary: string) => ({ summary, detail: "", address: null });
    const result = {
      run: "r1",
      ok: false,
      exitCode: 1,
      changes: [],
      errors: [
        error("service unavailable (unavailable, 00)"),
        error("server limit reached (server_limit_reached, 01)"),
        error("execution halted"),
      ],
      logFile: "",
      startedAt: 0,
      endedAt: 0,
    };
    assert.deepEqual([terraformError(result).kind, terraformError(result).border], ["quota", "terraform"]);
    assert.equal(terraformError({ ...result, errors: [], exitCode: null }).kind, "transient");
  });
});

describe("terraform's -json output", () => {
  it("is read among lines that are not JSON", () => {
    const lines = parseLog(
      [
        "Error: something before the arguments were understood",
        '{"@level":"info","@message":"x","type":"version","terraform":"1.11.4"}',
        '{"type":"planned_change","change":{"resource":{"addr":"hcloud_server.server"},"action":"noop"}}',
        '{"type":"planned_change","change":{"resource":{"addr":"hcloud_server.server"},"action":"forget"}}',
        '{"type":"apply_complete","hook":{"resource":{"addr":"hcloud_server.server"},"action":"create","id_value":"42"}}',
        '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"s","detail":"d"}}',
        "[1]",
        "",
        '{"type":"planned_ch',
      ].join("\n"),
    );
    assert.deepEqual(
      lines.map(({ type }) => type),
      ["text", "other", "planned_change", "planned_change", "apply_complete", "diagnostic", "text", "text"],
    );
    assert.deepEqual(
      lines.flatMap((line) => (line.type === "planned_change" ? [line.change.action] : [])),
      ["no-op", "delete"],
      "an unknown action counts as a loss",
    );
  });
});

describe("terraform's environment", () => {
  it("has nothing of ours but what is listed", () => {
    const access = { endpoint: "http://127.0.0.1:1/v1", token: new Secret("t".repeat(64)) };
    const ours = {
      PATH: "/bin",
      HOME: "/h",
      TF_LOG: "trace",
      STRIPE_KEY: "s",
      HCLOUD_TOKEN: "other",
      TF_CLI_ARGS: "x",
    };
    assert.deepEqual(terraformEnvironment(access, "/c.tfrc", ours), {
      TF_IN_AUTOMATION: "1",
      TF_INPUT: "0",
      CHECKPOINT_DISABLE: "1",
      PATH: "/bin",
      HOME: "/h",
      TF_CLI_CONFIG_FILE: "/c.tfrc",
      HCLOUD_ENDPOINT: "http://127.0.0.1:1/v1",
      HCLOUD_TOKEN: "t".repeat(64),
    });
  });
});

describe("a state file", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "clawpool-state-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const write = (text: string) => writeFile(join(folder, "terraform.tfstate"), text);

  it("that does not exist is null", async () => assert.equal(await readState(folder), null));

  it("without content is not the same as none", async () => {
    await write("");
    assert.equal((await readState(folder))?.empty, true);
  });

  it("tells the server and its taint", async () => {
    const server = {
      mode: "managed",
      type: "hcloud_server",
      instances: [{ status: "tainted", attributes: { id: "42" } }],
    };
    const text = JSON.stringify({ version: 4, serial: 3, lineage: "l", resources: [server] });
    await write(text);
    const wanted = {
      serverId: 42,
      tainted: true,
      serial: 3,
      lineage: "l",
      resources: 1,
      shared: [],
      empty: false,
    };
    assert.deepEqual(await readState(folder), { ...wanted, text });
  });

  for (const text of ["{", "[]", "null", '{"serial":1}', "\0\0"]) {
    it(`that says ${JSON.stringify(text)} is an error`, async () => {
      await write(text);
      await assert.rejects(readState(folder), { code: "state-unreadable" });
    });
  }
});

describe("stack inputs", () => {
  for (const text of [
    "1",
    "{}",
    '{"stateDir":"relative","platform":{},"machines":[]}',
    '{"stateDir":"/a","platform":{},"machines":[1]}',
  ]) {
    it(`refuse ${text}`, () => assert.throws(() => parseStackInputs(text), /stack inputs/));
  }
});

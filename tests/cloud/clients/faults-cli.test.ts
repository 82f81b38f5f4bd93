/** What Debian's hcloud-cli makes of each fault. */
import assert from "node:assert/strict";
import { type DocumentedCode, documentedErrors } from "../hetzner/faults/errors.ts";
import type { Body } from "../hetzner/views.ts";
import { type Cli, hcloudCli } from "./cli.ts";
import { type ClientRig, startClientRig } from "./rig.ts";

describe("Hetzner emulator: faults as hcloud-cli shows them", function () {
  // The first run on a machine fetches it.
  this.timeout(60_000);
  let rig: ClientRig;
  let hcloud: Cli;
  before(async () => {
    rig = await startClientRig({ serverLimit: 2 });
    hcloud = await hcloudCli(rig.hetzner);
  });
  after(() => rig?.close());
  afterEach(async () => {
    rig.hetzner.faults.clear();
    for (const id of rig.backend.machines.keys()) await api("DELETE", `/servers/${id}`);
    assert.equal(rig.backend.machines.size, 0);
  });

  const order = (name: string, ...more: string[]) =>
    hcloud("server", "create", "--name", name, "--type", "cx23", "--image", "debian-12", ...more);
  /** Not with the client, which waits half a second for each action. */
  async function api(method: string, path: string, body?: unknown): Promise<Body> {
    const headers = { Authorization: `Bearer ${rig.hetzner.token}` };
    const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    const answer = (await (await fetch(`${rig.hetzner.endpoint}${path}`, init)).json()) as Body;
    let action = answer.action;
    while (action?.status === "running") action = (await api("GET", `/actions/${action.id}`)).action;
    return answer;
  }
  const make = async (name: string) => {
    const order = { name, server_type: "cx23", image: "debian-12", start_after_create: false };
    assert.equal((await api("POST", "/servers", order)).server.name, name);
  };
  async function servers(): Promise<[name: string, ipv4: string][]> {
    const { stdout } = await hcloud("server", "list", "-o", "noheader", "-o", "columns=name,ipv4");
    return stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => line.trim().split(/\s+/) as [string, string]);
  }
  const posted = () =>
    rig.hetzner
      .calls()
      .filter(({ method }) => method === "POST")
      .map(({ status }) => status);

  for (const [code, { status, message }] of Object.entries(documentedErrors)) {
    // The one that this client repeats by itself; see below.
    if (code === "conflict") continue;
    it(`${status} ${code}, with its JSON and bare`, async () => {
      for (const [bare, said] of [
        [false, `hcloud: ${message} (${code})`],
        [true, `hcloud: hcloud: server responded with status code ${status}`],
      ] as const) {
        const effect = { kind: "error", code: code as DocumentedCode, bare } as const;
        rig.hetzner.faults.add({ method: "POST", path: "/servers", effect });
        const { exitCode, stderr } = await order("refused");
        assert.deepEqual([exitCode, stderr], [1, said]);
      }
      assert.deepEqual(await servers(), []);
      assert.equal(rig.hetzner.faults.log().length, 2);
    });
  }

  it("409 conflict is repeated, and the order comes through", async () => {
    rig.hetzner.clearCalls();
    rig.hetzner.faults.add({ method: "POST", path: "/servers", effect: { kind: "error", code: "conflict" } });
    assert.equal((await order("repeated", "--start-after-create=false")).exitCode, 0);
    assert.deepEqual(posted(), [409, 201]);
  });

  it("a type that is sold out in one place can be had in another", async () => {
    rig.hetzner.faults.add({
      ...{ server: { type: "cx23", location: "fsn1" }, times: null },
      effect: { kind: "stock_out" },
    });
    const refused = await order("stock", "--location", "fsn1");
    assert.deepEqual(
      [refused.exitCode, refused.stderr],
      [1, "hcloud: error during placement (resource_unavailable)"],
    );
    const elsewhere = await order("stock", "--location", "nbg1", "--start-after-create=false");
    assert.equal(elsewhere.exitCode, 0, elsewhere.stderr);
  });

  it("the account's own limit", async () => {
    for (const name of ["m-1", "m-2"]) await make(name);
    const refused = await order("m-3");
    assert.equal(refused.stderr, "hcloud: server limit exceeded (resource_limit_exceeded)");
  });

  it("a connection dropped before the order is carried out, and after", async () => {
    for (const [when, made] of [
      ["before", []],
      ["after", ["dropped"]],
    ] as const) {
      rig.hetzner.faults.add({ method: "POST", path: "/servers", effect: { kind: "drop", when } });
      const { exitCode, stderr } = await order("dropped", "--start-after-create=false");
      assert.equal(exitCode, 1);
      assert.match(stderr, /^hcloud: Post ".*\/v1\/servers": EOF$/);
      assert.deepEqual(
        (await servers()).map(([name]) => name),
        made,
      );
    }
    assert.match((await order("dropped")).stderr, /uniqueness_error/);
  });

  it("an action that fails late", async () => {
    rig.hetzner.faults.add({ command: "create_server", effect: { kind: "action_fails" } });
    const { exitCode, stderr } = await order("late");
    assert.equal(exitCode, 1);
    assert.match(stderr, /^hcloud: action \d+ failed: Action failed \(action_failed\)$/);
    assert.equal((await servers()).length, 1);
  });

  it("a deletion that is refused", async () => {
    await make("kept");
    for (const code of ["protected", "locked"] as const) {
      rig.hetzner.faults.add({ method: "DELETE", path: "/servers/*", effect: { kind: "error", code } });
      const { exitCode, stderr } = await hcloud("server", "delete", "kept");
      assert.equal(exitCode, 1);
      assert.match(stderr, new RegExp(`^hcloud: deleting Server kept failed: .* \\(${code}\\)$`));
    }
    assert.equal((await servers()).length, 1);
  });

  it("a server that vanishes", async () => {
    await make("gone");
    const [server] = rig.backend.machines.keys();
    rig.hetzner.faults.add({ method: "GET", path: "/servers/*", effect: { kind: "vanish" } });
    const { stderr } = await hcloud("server", "describe", String(server));
    assert.equal(stderr, `hcloud: server not found: ${server}`);
    assert.deepEqual(await servers(), []);
  });

  it("a list that is empty or short", async () => {
    for (const name of ["m-1", "m-2"]) await make(name);
    for (const keep of [0, 1]) {
      rig.hetzner.faults.add({ method: "GET", path: "/servers", effect: { kind: "short_list", keep } });
      assert.equal((await servers()).length, keep);
    }
    assert.equal((await servers()).length, 2);
  });

  it("an address that is given away again at once", async () => {
    rig.hetzner.faults.add({ times: null, effect: { kind: "machine", fault: "reused-address" } });
    await make("first");
    const [[, address] = []] = await servers();
    await hcloud("server", "delete", "first");
    await make("second");
    assert.deepEqual(await servers(), [["second", address]]);
  });

  it("a token that only reads, a project of its own", async () => {
    const { endpoint } = rig.hetzner;
    const { token, readOnlyToken } = rig.hetzner.createProject();
    await make("mine");
    const reader = await hcloudCli({ endpoint, token: readOnlyToken });
    const { exitCode, stdout } = await reader("server", "list", "-o", "noheader");
    assert.deepEqual([exitCode, stdout], [0, ""]);
    const refused = await reader("ssh-key", "create", "--name", "k", "--public-key", "ssh-ed25519 AAAA");
    assert.match(refused.stderr, /\(token_readonly\)$/);
    const other = await hcloudCli({ endpoint, token });
    assert.match((await other("server", "delete", "mine")).stderr, /server not found: mine/i);
  });

  it("names of 64 characters and labels with illegal ones", async () => {
    assert.match(
      (await order("x".repeat(64))).stderr,
      /invalid input in field 'name': .* \(invalid_input\)$/,
    );
    assert.match((await order("m", "--label", "a=b c")).stderr, /in field 'labels': .* \(invalid_input\)$/);
  });
});

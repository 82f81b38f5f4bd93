/**
 * What Hetzner does with servers, seen through the two ways in which the daemon speaks with it: the gate's wire, and the
 * cloud border. Run on the emulated API and on the simulation's model.
 */
import { strict as assert } from "node:assert";
import type { Cloud } from "../../pool/cloud/cloud.ts";
import { ipv4Price, machinePrice, serverPrice } from "../../pool/cloud/prices.ts";
import type { Answer, Call, Wire } from "../../pool/cloud/wire.ts";

export interface HetznerUnderTest {
  readonly wire: Wire;
  readonly cloud: Cloud;
  close(): Promise<void>;
}

const hostKey = `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${"A".repeat(43)}`;
/** As terraform orders one. */
const order = (name: string, labels: Record<string, string> = {}) => ({
  name,
  server_type: "cx23",
  location: "fsn1",
  image: "debian-12",
  labels: { "managed-by": "clawpool", ...labels },
  user_data: `#cloud-config\nssh_keys:\n  ed25519_public: ${hostKey}\n`,
  start_after_create: true,
});

/** More questions than any change takes, fewer than a run that hangs would ask. */
const patience = 2_000;

/** @param start `slow`: what an action takes is no less than in reality, or nobody sees it run */
export function hetznerContract(
  name: string,
  start: (how: { readonly slow: boolean }) => Promise<HetznerUnderTest>,
): void {
  describe(`hetzner contract: ${name}`, function () {
    this.timeout(30_000);
    let rig: HetznerUnderTest;
    beforeEach(async () => {
      rig = await start({ slow: false });
    });
    afterEach(() => rig.close());

    async function send(method: Call["method"], path: string, body?: object): Promise<Answer> {
      const call = {
        method,
        path,
        priority: "refill",
        ...(body ? { body: JSON.stringify(body) } : {}),
      } as const;
      const sent = await rig.wire.send(call, Number.POSITIVE_INFINITY);
      assert(sent.kind === "answer", `${method} ${path}: ${sent.kind}`);
      assert.match(sent.contentType ?? "", /^application\/json/);
      return sent;
    }
    // biome-ignore lint/suspicious/noExplicitAny: other people's JSON, of which each test says what it wants
    const read = (answer: Answer): any => JSON.parse(answer.body);
    const codeOf = (answer: Answer) => [answer.status, read(answer).error.code];
    async function buy(called: string, labels?: Record<string, string>): Promise<number> {
      const answer = await send("POST", "/servers", order(called, labels));
      assert.equal(answer.status, 201, answer.body);
      return read(answer).server.id;
    }
    /** Until then the order's action keeps the server locked. */
    async function made(id: number): Promise<void> {
      for (let asked = 0; asked < patience; asked++) {
        const shown = await rig.cloud.server(id);
        const { actions } = read(await send("GET", `/servers/${id}/actions`));
        const order = actions.find(({ command }: { command: string }) => command === "create_server");
        if (shown?.status === "running" && order.status === "success") return;
      }
      assert.fail(`server ${id} never runs`);
    }
    async function gone(id: number): Promise<void> {
      for (let asked = 0; asked < patience; asked++) if ((await rig.cloud.server(id)) === null) return;
      assert.fail(`server ${id} does not go`);
    }

    it("answers an order with the server and an action that runs", async () => {
      const { server, action } = read(await send("POST", "/servers", order("claw-a", { a: "b" })));
      assert.equal(server.name, "claw-a");
      assert.deepEqual(server.labels, { "managed-by": "clawpool", a: "b" });
      assert.equal(action.command, "create_server");
      assert.deepEqual(action.resources[0], { id: server.id, type: "server" });
      assert(["running", "success"].includes(action.status));
      await made(server.id);
    });

    it("shows a server by id, by exact name and by all labels of a selector", async () => {
      const [a, b] = [await buy("claw-a", { pool: "x" }), await buy("claw-ab", { pool: "y" })];
      const shown = await rig.cloud.server(a);
      assert(shown && Math.abs(shown.createdAt) > 0);
      const { id, name: called, location, serverType, labels } = shown;
      assert.deepEqual(
        { id, called, location, serverType, labels },
        {
          id: a,
          called: "claw-a",
          location: "fsn1",
          serverType: "cx23",
          labels: { "managed-by": "clawpool", pool: "x" },
        },
      );
      assert.match(shown.ipv4 ?? "", /^\d+\.\d+\.\d+\.\d+$/);
      assert.equal((await rig.cloud.serverByName("claw-ab"))?.id, b);
      assert.equal(await rig.cloud.serverByName("claw"), null);
      const ids = async (selector: string) => (await rig.cloud.servers(selector)).map((server) => server.id);
      assert.deepEqual((await ids("managed-by=clawpool")).sort(), [a, b].sort());
      assert.deepEqual(await ids("managed-by=clawpool,pool=y"), [b]);
      assert.deepEqual(await ids("managed-by=somebody"), []);
      assert.deepEqual(
        read(await send("GET", "/servers?name=claw-a")).servers.map((server: { id: number }) => server.id),
        [a],
      );
      assert.deepEqual(read(await send("GET", "/servers?name=claw-none")).servers, []);
    });

    it("lists what a machine costs, and says of what it does not list that there is no price", async () => {
      const prices = await rig.cloud.prices();
      assert.deepEqual([prices.currency, prices.vatPercent], ["EUR", 19]);
      const cx23 = { serverType: "cx23", location: "fsn1" };
      const server = serverPrice(prices, cx23);
      assert(server.known);
      assert.deepEqual([server.price.hourly.net, server.price.monthly.net], [0.0088, 5.49]);
      assert.equal(server.price.monthly.gross.toFixed(4), (5.49 * 1.19).toFixed(4));
      const address = ipv4Price(prices, "fsn1");
      assert(address.known);
      assert.deepEqual([address.price.hourly.net, address.price.monthly.net], [0.0008, 0.5]);
      const machine = machinePrice(prices, cx23);
      assert(machine.known);
      assert.deepEqual([machine.price.hourly.net, machine.price.monthly.net], [0.0096, 5.99]);
      assert.deepEqual([prices.volumeGbMonth?.net, prices.snapshotGbMonth?.net], [0.0572, 0.0143]);
      for (const [serverType, location] of [
        ["cx99", "fsn1"],
        ["cx23", "mars1"],
        ["constructor", "fsn1"],
      ] as const) {
        const answer = machinePrice(prices, { serverType, location });
        assert(!answer.known);
        assert.match(answer.reason, new RegExp(`^no price for ${serverType} at ${location}: `));
      }
    });

    it("gives no two servers one name, and no two one address", async () => {
      const a = await buy("claw-a");
      assert.deepEqual(codeOf(await send("POST", "/servers", order("claw-a"))), [409, "uniqueness_error"]);
      const b = await buy("claw-b");
      assert.notEqual((await rig.cloud.server(a))?.ipv4, (await rig.cloud.server(b))?.ipv4);
    });

    it("says not_found for what is not there, and null through the border", async () => {
      assert.deepEqual(codeOf(await send("GET", "/servers/999999")), [404, "not_found"]);
      assert.deepEqual(codeOf(await send("DELETE", "/servers/999999")), [404, "not_found"]);
      assert.equal(await rig.cloud.server(999_999), null);
    });

    it("replaces all labels of a server", async () => {
      const id = await buy("claw-a", { a: "b" });
      const answer = await send("PUT", `/servers/${id}`, { labels: { c: "d" } });
      assert.deepEqual([answer.status, read(answer).server.labels], [200, { c: "d" }]);
      assert.deepEqual((await rig.cloud.server(id))?.labels, { c: "d" });
    });

    it("refuses other actions and a deletion while an action runs, and takes other labels", async () => {
      await rig.close();
      rig = await start({ slow: true });
      const id = await buy("claw-a");
      for (const action of ["shutdown", "poweroff", "poweron"])
        assert.deepEqual(codeOf(await send("POST", `/servers/${id}/actions/${action}`)), [423, "locked"]);
      assert.deepEqual(codeOf(await send("DELETE", `/servers/${id}`)), [423, "locked"]);
      assert.equal((await send("PUT", `/servers/${id}`, { labels: { c: "d" } })).status, 200);
      assert.equal(read(await send("GET", `/servers/${id}`)).server.locked, true);
    });

    it("deletes by an action, and is then as if the server had never been", async () => {
      const id = await buy("claw-a");
      await made(id);
      const answer = await send("DELETE", `/servers/${id}`);
      assert.equal(answer.status, 200);
      assert.equal(read(answer).action.command, "delete_server");
      await gone(id);
      assert.deepEqual(codeOf(await send("DELETE", `/servers/${id}`)), [404, "not_found"]);
      assert.equal(await rig.cloud.serverByName("claw-a"), null);
      assert.deepEqual(await rig.cloud.servers("managed-by=clawpool"), []);
      await buy("claw-a");
    });
  });
}

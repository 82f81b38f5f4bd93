import assert from "node:assert/strict";
import { assertError, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: networks' subnets, routes and ranges", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const cloud = (range?: string) => ({ type: "cloud", network_zone: "eu-central", ip_range: range });
  const made = async (other: Record<string, unknown> = {}) =>
    (await rig.must("POST", "/networks", { name: "n", ip_range: "10.0.0.0/16", ...other })).network.id;
  const seen = async (id: number) => (await rig.must("GET", `/networks/${id}`)).network;
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/networks/${id}/actions/${name}`, body);
  const must = async (id: number, name: string, body?: unknown) => {
    await rig.must("POST", `/networks/${id}/actions/${name}`, body);
    await rig.clock.advance(10_000);
  };

  it("are made with subnets and routes", async () => {
    const routes = [{ destination: "10.100.1.0/24", gateway: "10.0.1.1" }];
    const id = await made({
      subnets: [cloud("10.0.1.0/24"), cloud()],
      routes,
      expose_routes_to_vswitch: true,
    });
    const network = await seen(id);
    assert.deepEqual(
      network.subnets.map((subnet) => subnet.ip_range),
      ["10.0.1.0/24", "10.0.0.0/24"],
    );
    assert.deepEqual(network.routes, routes);
    assert.deepEqual(rig.backend.routes.get(id), routes);
    assert.equal(network.expose_routes_to_vswitch, true);
    await rig.must("PUT", `/networks/${id}`, { expose_routes_to_vswitch: false });
    assert.equal((await seen(id)).expose_routes_to_vswitch, false);
  });

  it("are not made when their routes cannot be set", async () => {
    rig.backend.setRoutes = async () => {
      throw new Error("the bridge is gone");
    };
    const body = {
      name: "n",
      ip_range: "10.0.0.0/16",
      routes: [{ destination: "10.9.0.0/24", gateway: "10.0.0.2" }],
    };
    assertError(await rig.call("POST", "/networks", body), 503, "unavailable");
    assert.deepEqual((await rig.must("GET", "/networks")).networks, []);
  });

  it("get routes and lose them", async () => {
    const id = await made({ subnets: [cloud("10.0.0.0/24")] });
    const one = { destination: "192.168.0.0/16", gateway: "10.0.0.2" };
    const all = { destination: "0.0.0.0/0", gateway: "10.0.0.3" };
    await must(id, "add_route", one);
    await must(id, "add_route", all);
    assert.deepEqual(rig.backend.routes.get(id), [one, all]);
    assertError(await act(id, "add_route", one), 422, "invalid_input", "destination");
    assertError(await act(id, "delete_route", { ...one, gateway: "10.0.0.9" }), 422, "invalid_input");
    await must(id, "delete_route", one);
    assert.deepEqual((await seen(id)).routes, [all]);
    assert.deepEqual(rig.backend.routes.get(id), [all]);
  });

  const wrongRoutes: [string, string, string, string][] = [
    ["over a subnet", "10.0.0.0/25", "10.0.0.2", "destination"],
    ["to a public range", "8.8.8.0/24", "10.0.0.2", "destination"],
    ["over the public gateway", "172.31.0.0/16", "10.0.0.2", "destination"],
    ["to what is no range", "10.9.0.0", "10.0.0.2", "destination"],
    ["with host bits", "10.9.0.1/24", "10.0.0.2", "destination"],
    ["through the network's own gateway", "10.9.0.0/24", "10.0.0.1", "gateway"],
    ["through an address elsewhere", "10.9.0.0/24", "10.1.0.2", "gateway"],
  ];
  for (const [what, destination, gateway, field] of wrongRoutes) {
    it(`refuse a route ${what}`, async () => {
      const id = await made({ subnets: [cloud("10.0.0.0/24")] });
      assertError(await act(id, "add_route", { destination, gateway }), 422, "invalid_input", field);
    });
  }

  it("have no subnet where a route leads", async () => {
    const id = await made();
    await must(id, "add_route", { destination: "10.0.0.0/24", gateway: "10.0.9.9" });
    assertError(await act(id, "add_subnet", cloud("10.0.0.0/25")), 422, "invalid_input", "ip_range");
    await must(id, "add_subnet", cloud());
    assert.equal((await seen(id)).subnets[0]?.ip_range, "10.0.1.0/24");
  });

  it("know no vSwitch", async () => {
    const id = await made();
    const vswitch = { ...cloud("10.0.0.0/24"), type: "vswitch" };
    assertError(await act(id, "add_subnet", vswitch), 422, "invalid_input", "vswitch_id");
    const numbered = await act(id, "add_subnet", { ...vswitch, vswitch_id: 15074 });
    assertError(numbered, 422, "invalid_input", "vswitch_id");
    assert.match(numbered.body.error.message, /15074.*not found/);
    const misplaced = { ...cloud("10.0.0.0/24"), vswitch_id: 15074 };
    assertError(await act(id, "add_subnet", misplaced), 422, "invalid_input", "vswitch_id");
    await must(id, "add_subnet", { ...cloud("10.0.0.0/24"), type: "server" });
  });

  it("extend their range at its end, and never shrink", async () => {
    const id = await made({ ip_range: "10.0.0.0/17" });
    for (const range of ["10.0.0.0/18", "10.1.0.0/16", "10.0.0.1/16", "192.168.0.0/16"]) {
      assertError(await act(id, "change_ip_range", { ip_range: range }), 422, "invalid_input", "ip_range");
    }
    await must(id, "change_ip_range", { ip_range: "10.0.0.0/16" });
    assert.equal((await seen(id)).ip_range, "10.0.0.0/16");
  });

  it("tell the machines in them about a new range", async () => {
    const id = await made({ ip_range: "10.0.0.0/17", subnets: [cloud("10.0.0.0/24")] });
    const { id: server } = await rig.runningServer("m-1", { networks: [id] });
    const [before] = rig.backend.machines.get(server)?.networks ?? [];
    await must(id, "change_ip_range", { ip_range: "10.0.0.0/16" });
    assert.deepEqual(rig.backend.machines.get(server)?.networks, [{ ...before, ipRange: "10.0.0.0/16" }]);
  });

  it("are protected from deletion", async () => {
    const id = await made();
    await must(id, "change_protection", { delete: true });
    assertError(await rig.call("DELETE", `/networks/${id}`), 423, "protected");
    await must(id, "change_protection", { delete: false });
    await rig.must("DELETE", `/networks/${id}`);
  });

  it("answer every change with conflict while another one runs", async () => {
    const id = await made();
    await rig.must("POST", `/networks/${id}/actions/change_protection`, { delete: false });
    assertError(await rig.call("PUT", `/networks/${id}`, { name: "m" }), 409, "conflict");
    assertError(await rig.call("DELETE", `/networks/${id}`), 409, "conflict");
    assertError(await act(id, "change_ip_range", { ip_range: "10.0.0.0/15" }), 409, "conflict");
    assertError(
      await act(id, "add_route", { destination: "10.9.0.0/24", gateway: "10.0.0.2" }),
      409,
      "conflict",
    );
  });

  it("leave their servers when they are deleted", async () => {
    const id = await made({ subnets: [cloud("10.0.0.0/24")] });
    const server = await rig.runningServer("m-1", { networks: [id] });
    assert.equal(rig.backend.machines.get(server.id)?.networks[0]?.ip, "10.0.0.2");
    await rig.must("DELETE", `/networks/${id}`);
    assert.deepEqual((await rig.must("GET", `/servers/${server.id}`)).server.private_net, []);
    assert.deepEqual(rig.backend.machines.get(server.id)?.networks, []);
  });

  it("give nobody the gateway's address", async () => {
    const id = await made({ subnets: [cloud("10.0.0.0/24")] });
    const server = await rig.runningServer("m-1");
    const attach = { network: id, ip: "10.0.0.1" };
    const reply = await rig.call("POST", `/servers/${server.id}/actions/attach_to_network`, attach);
    assertError(reply, 422, "ip_not_available");
  });

  it("have 100 routes and not 101, 50 subnets and not 51", async () => {
    const routes = Array.from({ length: 100 }, (_, index) => ({
      destination: `10.200.${index}.0/24`,
      gateway: "10.0.200.2",
    }));
    const subnets = Array.from({ length: 50 }, (_, index) => cloud(`10.0.${index}.0/24`));
    const id = await made({ routes, subnets });
    const more = { destination: "10.201.0.0/24", gateway: "10.0.200.2" };
    assertError(await act(id, "add_route", more), 403, "resource_limit_exceeded");
    assertError(await act(id, "add_subnet", cloud("10.0.60.0/24")), 403, "resource_limit_exceeded");
  });
});

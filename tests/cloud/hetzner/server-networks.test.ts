import assert from "node:assert/strict";
import { assertError, type Rig, serverOrder, startRig } from "./rig.ts";

describe("Hetzner emulator: servers in private networks", () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  const settle = () => rig.clock.advance(60_000);
  const bought = async (name: string, second = 0) => {
    const { network } = await rig.must("POST", "/networks", {
      name,
      ip_range: `10.${second}.0.0/16`,
      subnets: [{ type: "cloud", network_zone: "eu-central", ip_range: `10.${second}.1.0/24` }],
    });
    return network.id;
  };
  const act = (id: number, name: string, body?: unknown) =>
    rig.call("POST", `/servers/${id}/actions/${name}`, body);
  const must = async (id: number, name: string, body?: unknown) => {
    const answer = await rig.must("POST", `/servers/${id}/actions/${name}`, body);
    await settle();
    return answer.action;
  };
  const netsOf = async (id: number) => (await rig.must("GET", `/servers/${id}`)).server.private_net;

  it("have the interface that the API shows, on their machine too", async () => {
    const network = await bought("a");
    const { id } = await rig.runningServer("m-1", { networks: [network] });
    const [shown] = await netsOf(id);
    assert.equal(shown?.ip, "10.0.1.1");
    assert.partialDeepStrictEqual(rig.backend.machines.get(id)?.networks, [
      { network, ip: "10.0.1.1", aliasIps: [], ipRange: "10.0.0.0/16", gateway: "10.0.0.1" },
    ]);
    await must(id, "detach_from_network", { network });
    assert.deepEqual(await netsOf(id), []);
    assert.deepEqual(rig.backend.machines.get(id)?.networks, []);
    assertError(await act(id, "detach_from_network", { network }), 422, "invalid_input", "network");
  });

  it("can have no public address at all when they are started later", async () => {
    const none = { public_net: { enable_ipv4: false, enable_ipv6: false } };
    const order = { ...serverOrder("m-1"), ...none };
    assertError(await rig.call("POST", "/servers", order), 422, "invalid_input", "public_net");
    const { server } = await rig.must("POST", "/servers", { ...order, start_after_create: false });
    await settle();
    assert.deepEqual([server.public_net.ipv4, server.public_net.ipv6], [null, null]);
    assert.equal(rig.backend.machines.get(server.id)?.ipv4, null);
    assert.equal(rig.backend.addresses.size, 0);
    await must(server.id, "attach_to_network", { network: await bought("a") });
    await must(server.id, "poweron");
    assert.equal((await rig.must("GET", `/servers/${server.id}`)).server.status, "running");
  });

  it("have alias addresses that replace the ones before", async () => {
    const network = await bought("a");
    const { id } = await rig.runningServer("m-1", { networks: [network] });
    const other = await rig.runningServer("m-2", { networks: [network] });
    const alias = (ips: readonly string[]) => ({ network, alias_ips: ips });
    const action = await must(id, "change_alias_ips", alias(["10.0.1.8", "10.0.1.9"]));
    assert.equal(action.command, "change_alias_ips");
    await must(id, "change_alias_ips", alias(["10.0.1.9"]));
    assert.deepEqual((await netsOf(id))[0]?.alias_ips, ["10.0.1.9"]);
    assert.deepEqual(rig.backend.machines.get(id)?.networks[0]?.aliasIps, ["10.0.1.9"]);
    for (const ip of ["10.0.1.9", "10.0.1.1", "10.0.0.1", "10.0.2.1", "10.0.1.255"]) {
      assertError(await act(other.id, "change_alias_ips", alias([ip])), 422, "ip_not_available");
    }
    await must(other.id, "change_alias_ips", alias(["10.0.1.8"]));
    assertError(await act(id, "change_alias_ips", alias(["a"])), 422, "invalid_input", "alias_ips.0");
    const elsewhere = { network: await bought("b", 1), alias_ips: [] };
    assertError(await act(id, "change_alias_ips", elsewhere), 422, "invalid_input", "network");
  });

  it("are in networks that do not overlap", async () => {
    const [a, b, over] = [await bought("a"), await bought("b", 1), await bought("over")];
    const { id } = await rig.runningServer("m-1", { networks: [a] });
    await must(id, "attach_to_network", { network: b });
    assertError(await act(id, "attach_to_network", { network: over }), 422, "networks_overlap");
    assertError(await act(id, "attach_to_network", { network: a }), 422, "server_already_attached");
    assertError(await act(id, "attach_to_network", { network: 7 }), 422, "invalid_input", "network");
  });

  it("are in three of them at most", async () => {
    const networks = [await bought("a"), await bought("b", 1), await bought("c", 2), await bought("d", 3)];
    const order = { ...serverOrder("m-1"), networks };
    assertError(await rig.call("POST", "/servers", order), 422, "invalid_input", "networks");
    const { id } = await rig.runningServer("m-1", { networks: networks.slice(0, 3) });
    assert.equal((await netsOf(id)).length, 3);
    const network = networks[3];
    assertError(await act(id, "attach_to_network", { network }), 403, "resource_limit_exceeded");
    await must(id, "detach_from_network", { network: networks[0] });
    const many = [1, 2, 3, 4, 5, 6].map((host) => `10.3.1.1${host}`);
    assertError(
      await act(id, "attach_to_network", { network, alias_ips: many }),
      422,
      "invalid_input",
      "alias_ips",
    );
    await must(id, "attach_to_network", { network, alias_ips: many.slice(0, 5) });
  });

  it("that cannot be attached are not shown as if they were", async () => {
    const network = await bought("a");
    const { id } = await rig.runningServer("m-1");
    rig.backend.attachNetwork = () => Promise.reject(new Error("no bridge"));
    const { id: action } = await must(id, "attach_to_network", { network });
    const ended = (await rig.must("GET", `/actions/${action}`)).action;
    assert.deepEqual([ended.status, ended.error?.message], ["error", "no bridge"]);
    assert.deepEqual(await netsOf(id), []);
  });
});

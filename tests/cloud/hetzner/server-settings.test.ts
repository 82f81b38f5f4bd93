import assert from "node:assert/strict";
import { assertError, publicKey, type Rig, startRig } from "./rig.ts";

describe("Hetzner emulator: getting into servers, and what hangs on them", () => {
  let rig: Rig;
  let id: number;
  beforeEach(async () => {
    rig = await startRig();
    id = (await rig.runningServer("m-1")).id;
  });
  afterEach(() => rig.close());

  const settle = () => rig.clock.advance(60_000);
  const act = (name: string, body?: unknown) => rig.call("POST", `/servers/${id}/actions/${name}`, body);
  const must = async (name: string, body?: unknown) => {
    const answer = await rig.must("POST", `/servers/${id}/actions/${name}`, body);
    await settle();
    return answer;
  };
  const seen = async () => (await rig.must("GET", `/servers/${id}`)).server;
  const machine = () => rig.backend.machines.get(id);

  describe("rescue", () => {
    it("boots once into the rescue system, with the keys of the request", async () => {
      const { ssh_key: key } = await rig.must("POST", "/ssh_keys", {
        name: "k",
        public_key: publicKey("a"),
      });
      const answer = await must("enable_rescue", { type: "linux64", ssh_keys: [key.id] });
      assert.match(answer.root_password ?? "", /^.{20}$/);
      assert.equal((await seen()).rescue_enabled, true);
      assert.deepEqual(machine()?.rescue, { sshKeys: [key.public_key], password: answer.root_password });
      assert.equal(machine()?.rescued, false);
      await must("reset");
      assert.equal(machine()?.rescued, true);
      assert.equal((await seen()).rescue_enabled, false);
      await must("reboot");
      assert.equal(machine()?.rescued, false);
    });

    it("is taken back by disable_rescue", async () => {
      await must("enable_rescue");
      await must("disable_rescue");
      assert.equal((await seen()).rescue_enabled, false);
      await must("reset");
      assert.equal(machine()?.rescued, false);
    });

    it("that is not used within an hour is over", async () => {
      await must("enable_rescue");
      await rig.clock.advance(3_600_000);
      assert.equal((await seen()).rescue_enabled, false);
      await must("reset");
      assert.equal(machine()?.rescued, false);
    });

    it("refuses other systems and unknown keys", async () => {
      assertError(await act("enable_rescue", { type: "freebsd64" }), 422, "invalid_input", "type");
      assertError(await act("enable_rescue", { ssh_keys: [7] }), 422, "invalid_input", "ssh_keys");
    });
  });

  it("reset_password sets the password that it answers, on a running server", async () => {
    const { root_password: password } = await must("reset_password");
    assert.equal(machine()?.rootPassword, password);
    await must("poweroff");
    assertError(await act("reset_password"), 422, "unsupported_error");
  });

  it("request_console answers an address with a token and a password", async () => {
    const [one, two] = [await must("request_console"), await must("request_console")];
    assert.match(one.wss_url, /^wss:\/\/.*server_id=[0-9]+&token=[0-9a-f-]{36}$/);
    assert.notEqual(one.wss_url, two.wss_url);
    assert.notEqual(one.password, two.password);
  });

  describe("ISOs", () => {
    it("are attached by id or name, one at a time", async () => {
      await must("attach_iso", { iso: "8637" });
      assert.equal((await seen()).iso?.id, 8637);
      await must("attach_iso", { iso: "windows-server-2022_German.iso" });
      assert.equal((await seen()).iso?.id, 8638);
      await must("detach_iso");
      assert.equal((await seen()).iso, null);
    });

    it("that are unknown or of the other architecture are refused", async () => {
      assertError(await act("attach_iso", { iso: "9" }), 422, "invalid_input", "iso");
      assertError(await act("attach_iso", { iso: "118631" }), 422, "invalid_input", "iso");
      assertError(await act("attach_iso", {}), 422, "invalid_input", "iso");
    });

    it("detached where none is are a success at once", async () => {
      const { action } = await rig.must("POST", `/servers/${id}/actions/detach_iso`);
      assert.deepEqual([action.status, action.progress], ["success", 100]);
      assert.notEqual(action.finished, null);
      assert.equal((await seen()).locked, false);
    });
  });

  it("change_dns_ptr names the server's own addresses", async () => {
    const { ipv4, ipv6 } = (await seen()).public_net;
    await must("change_dns_ptr", { ip: ipv4?.ip, dns_ptr: "m.example.org" });
    const inside = (ipv6?.ip ?? "").replace("/64", "5");
    await must("change_dns_ptr", { ip: inside, dns_ptr: "six.example.org" });
    const { public_net: net } = await seen();
    assert.equal(net.ipv4?.dns_ptr, "m.example.org");
    assert.deepEqual(net.ipv6?.dns_ptr, [{ ip: inside, dns_ptr: "six.example.org" }]);
    await must("change_dns_ptr", { ip: ipv4?.ip, dns_ptr: null });
    assert.match((await seen()).public_net.ipv4?.dns_ptr ?? "", /^static\./);
    const elsewhere = { ip: "192.0.2.1", dns_ptr: "x.example.org" };
    assertError(await act("change_dns_ptr", elsewhere), 422, "invalid_input", "ip");
    const wrong = { ip: ipv4?.ip, dns_ptr: "not a name" };
    assertError(await act("change_dns_ptr", wrong), 422, "invalid_input", "dns_ptr");
  });

  it("every action answers the documented 404, 405 and 400", async () => {
    assertError(await rig.call("POST", "/servers/7/actions/rebuild", {}), 404, "not_found");
    const list = await fetch(`${rig.hetzner.endpoint}/servers/${id}/actions/rebuild`, {
      method: "PUT",
      headers: { Authorization: `Bearer ${rig.hetzner.token}` },
    });
    assert.equal(list.status, 405);
    assertError(await act("rebuild", "[]"), 400, "json_error");
    assertError(await act("change_type", "{"), 400, "json_error");
  });
});

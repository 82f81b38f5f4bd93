import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answers, ed25519KeyPair, loginWhenUp, type Session, succeed, until } from "../machines/probe.ts";
import { createProcessBackend, type ProcessBackend } from "../machines/process/backend.ts";
import { type Hetzner, startHetzner } from "./hetzner.ts";
import { assertError, callOn, type Reply } from "./rig.ts";
import type { ActionView, Body, ServerView } from "./views.ts";

const sshPort = 22_123;

/** What the API says its actions do, seen from inside of the machines that they are done to. */
describe("Hetzner emulator: with machines behind it", function () {
  this.timeout(60_000);
  const key = ed25519KeyPair("root");
  let stateDir: string;
  let backend: ProcessBackend;
  let hetzner: Hetzner;
  let keyId: number;
  const sessions: Session[] = [];

  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), "clawpool-hetzner-"));
    backend = createProcessBackend({ stateDir: join(stateDir, "machines"), sshPort });
    await backend.start();
    hetzner = await startHetzner({ stateDir, backend, profile: "fast" });
    keyId = (await must("POST", "/ssh_keys", { name: "root", public_key: key.public })).ssh_key.id;
  });
  after(async () => {
    await hetzner?.close();
    await backend?.stop();
    await rm(stateDir, { recursive: true });
  });
  afterEach(async () => {
    for (const session of sessions.splice(0)) session.close();
    for (const { id } of (await must("GET", "/servers")).servers) {
      await done((await must("DELETE", `/servers/${id}`)).action);
    }
  });

  const call = (method: string, path: string, body?: unknown): Promise<Reply> =>
    callOn(hetzner, method, path, body);
  async function must(method: string, path: string, body?: unknown): Promise<Body> {
    const reply = await call(method, path, body);
    assert.ok(reply.status < 300, `${method} ${path}: ${reply.status} ${JSON.stringify(reply.json)}`);
    return reply.body;
  }
  async function done(...actions: readonly ActionView[]): Promise<void> {
    for (const { id } of actions) {
      let action: ActionView | undefined;
      await until(async () => {
        action = (await must("GET", `/actions/${id}`)).action;
        return action.status !== "running";
      });
      assert.equal(action?.error, null);
    }
  }
  async function running(name: string, other: Record<string, unknown> = {}): Promise<ServerView> {
    const order = { name, server_type: "cx23", image: "debian-12", ssh_keys: [keyId], ...other };
    const made = await must("POST", "/servers", order);
    await done(made.action, ...made.next_actions);
    return (await must("GET", `/servers/${made.server.id}`)).server;
  }
  async function act(server: ServerView, name: string, body?: unknown): Promise<Body> {
    const answer = await must("POST", `/servers/${server.id}/actions/${name}`, body);
    await done(answer.action);
    return answer;
  }
  async function open(server: ServerView, password?: string): Promise<Session> {
    const target = { host: server.public_net.ipv4?.ip ?? "", port: sshPort, username: "root" };
    const session = await loginWhenUp(password === undefined ? { ...target, key } : { ...target, password });
    sessions.push(session);
    return session;
  }
  const kept = '"$HOME/kept"';

  it("starts servers from snapshots, which outlive theirs", async () => {
    const source = await running("m-1");
    await succeed(await open(source), `echo mine > ${kept}`);
    const { image } = await act(source, "create_image");
    await done((await must("DELETE", `/servers/${source.id}`)).action);
    assert.ok(((await must("GET", `/images/${image.id}`)).image.image_size ?? 0) > 0);
    const copy = await running("m-2", { image: image.id });
    assert.equal(await succeed(await open(copy), `cat ${kept}`), "mine\n");
    await must("DELETE", `/images/${image.id}`);
    assert.equal(await succeed(await open(copy), `cat ${kept}`), "mine\n");
  });

  it("rebuilds: the files are gone, address and keys stay", async () => {
    const server = await running("m-1");
    const before = await open(server);
    await succeed(before, `echo mine > ${kept}`);
    await act(server, "rebuild", { image: "debian-12" });
    await before.closed;
    const after = await open(server);
    assert.notEqual(after.hostKey, before.hostKey);
    assert.notEqual((await after.run(`cat ${kept}`)).code, 0);
  });

  it("boots the rescue system once, by reset", async () => {
    const server = await running("m-1");
    await succeed(await open(server), `echo mine > ${kept}`);
    const { root_password: password } = await act(server, "enable_rescue");
    await act(server, "reset");
    assert.notEqual((await (await open(server, password ?? "")).run(`cat ${kept}`)).code, 0);
    await act(server, "reset");
    assert.equal(await succeed(await open(server), `cat ${kept}`), "mine\n");
  });

  it("lets root in with the password that it answered", async () => {
    const order = { name: "m-1", server_type: "cx23", image: "debian-12" };
    const made = await must("POST", "/servers", order);
    await done(made.action, ...made.next_actions);
    await succeed(await open(made.server, made.root_password ?? ""), "true");
    const { root_password: second } = await act(made.server, "reset_password");
    await succeed(await open(made.server, second ?? ""), "true");
    await assert.rejects(open(made.server, made.root_password ?? ""), { level: "client-authentication" });
  });

  it("keeps a Primary IP for the next server, and an order with a volume shows it", async () => {
    const { primary_ip: address } = await must("POST", "/primary_ips", {
      name: "kept",
      type: "ipv4",
      location: "fsn1",
    });
    const { volume, action, next_actions } = await must("POST", "/volumes", {
      name: "data",
      size: 10,
      location: "fsn1",
      format: "ext4",
    });
    await done(action, ...next_actions);
    const order = {
      location: "fsn1",
      public_net: { ipv4: address.id },
      volumes: [volume.id],
      automount: true,
    };
    for (const name of ["m-1", "m-2"]) {
      const server = await running(name, order);
      assert.equal(server.public_net.ipv4?.ip, address.ip);
      assert.deepEqual(server.volumes, [volume.id]);
      const mounted = `"$HOME/../mnt/HC_Volume_${volume.id}"`;
      await succeed(await open(server), `echo ${name} >> ${mounted}/log`);
      const log = await succeed(await open(server), `cat ${mounted}/log`);
      assert.equal(log, name === "m-1" ? "m-1\n" : "m-1\nm-2\n");
      await done((await must("DELETE", `/servers/${server.id}`)).action);
      assert.equal(await answers(address.ip, sshPort), false);
    }
  });

  it("ends what these machines cannot do in error, and shows nothing of it", async () => {
    const subnets = [{ type: "cloud", network_zone: "eu-central", ip_range: "10.0.1.0/24" }];
    const { network } = await must("POST", "/networks", { name: "n", ip_range: "10.0.0.0/16", subnets });
    const server = await running("m-1");
    const { action } = await must("POST", `/servers/${server.id}/actions/attach_to_network`, {
      network: network.id,
    });
    await assert.rejects(done(action), /cannot be in private networks/);
    assert.deepEqual((await must("GET", `/servers/${server.id}`)).server.private_net, []);
    assertError(await call("GET", "/servers/7"), 404, "not_found");
  });
});

/** The simulated borders pass the same suites as the real ones do on the local cloud. */

import { strict as assert } from "node:assert";
import type { GateLedger } from "../../../pool/cloud/cloud.ts";
import { arm } from "../../../pool/machine/hand-over-session.ts";
import { userData } from "../../../pool/machine/user-data.ts";
import { permit } from "../../gate/rig.ts";
import { hetznerContract } from "../../hetzner-client/contract.ts";
import { type MachineUnderTest, machineContract } from "../../machine/contract.ts";
import { courierContract } from "../../notify/contract.ts";
import { type StripeUnderTest, stripeContract } from "../../stripe/contract.ts";
import { tailnetContract } from "../../tailnet/contract.ts";
import { type TerraformUnderTest, terraformContract } from "../../terraform/contract.ts";
import { machineInput } from "../../terraform/rig.ts";
import { Incarnation } from "../incarnation.ts";
import { World } from "../world.ts";
import { simulatedCourier } from "./courier.ts";
import { driven } from "./driven.ts";
import { simulatedGate } from "./gate.ts";
import { simulatedCloud, simulatedWire } from "./hetzner.ts";
import { simulatedSsh } from "./machines.ts";
import { simulatedStripe } from "./stripe.ts";
import { joinTailnet, leaveTailnet, simulatedTailnet } from "./tailnet.ts";
import { simulatedTerraform } from "./terraform.ts";

/** In which nothing fails. */
function calmWorld(): World {
  const world = new World(1);
  world.calm = true;
  return world;
}

hetznerContract("the simulation's model", async () => {
  const world = calmWorld();
  return {
    wire: driven(world.clock, simulatedWire(world)),
    cloud: driven(world.clock, simulatedCloud(world)),
    close: async () => {},
  };
});

function simulatedStacks(): TerraformUnderTest {
  const world = calmWorld();
  const life = new Incarnation(
    world.clock,
    null,
    () => {},
    () => {},
  );
  const serverOf = (name: string) => [...world.servers.values()].find((server) => server.name === name);
  // Grants whatever terraform wants: what the gate refuses is tested in tests/gate.
  const ledger: GateLedger = {
    leads: () => true,
    machine(name) {
      const serverId = serverOf(name)?.id ?? null;
      return { state: "creating", serverId, order: null, mayDestroy: serverId !== null };
    },
    machineByServerId: (id) => world.servers.get(id) ?? null,
    recordServerId: () => {},
    recordRefusal: (_run, _request, reason) => world.violate("simulation", reason),
  };
  let failing = false;
  const wire = simulatedWire(world);
  const gate = simulatedGate(world, life, ledger, {
    async send(call, until) {
      if (!failing || call.method !== "GET") return wire.send(call, until);
      failing = false;
      const body = JSON.stringify({ error: { code: "conflict", message: "conflict", details: null } });
      const answer = { kind: "answer", status: 409, contentType: "application/json", body } as const;
      return { ...answer, correlationId: null, retryAfterMs: null };
    },
  });
  const userData = "ed25519_public: ssh-ed25519 AAAA\n";
  return {
    terraform: driven(world.clock, simulatedTerraform(world, gate)),
    input: (name) => ({
      ...machineInput({ sshKey: 1, firewall: 2, network: 3, placementGroups: [4, 5] }, name),
      userData,
    }),
    access: (name) => gate.openRun(permit(name)),
    labels: async (id) => world.servers.get(id)?.labels ?? null,
    failPoll() {
      failing = true;
    },
    async vanish(id) {
      world.servers.delete(id);
    },
  };
}
const stacks = simulatedStacks();
terraformContract("the simulation's model", () => stacks);

tailnetContract("the simulation's model", async () => {
  const world = calmWorld();
  return {
    tailnet: driven(world.clock, simulatedTailnet(world)),
    now: () => world.clock.now(),
    advance: (ms) => world.clock.advance(ms),
    async join(authKey, hostname) {
      const nodeId = joinTailnet(world, authKey, hostname);
      const device = world.devices.get(nodeId);
      assert(device);
      return {
        nodeId,
        addresses: device.addresses,
        logout: async () => leaveTailnet(world, nodeId),
        disconnect: async () => {
          device.online = false;
        },
      };
    },
    async waitFor(nodeId, online) {
      assert.equal(world.devices.get(nodeId)?.online ?? false, online);
    },
    close: async () => {},
  };
});

function simulatedAccount(): StripeUnderTest {
  const world = calmWorld();
  const session = (id: string) => world.sessions.get(id) ?? assert.fail(`no session ${id}`);
  return {
    open: (key = undefined) => driven(world.clock, simulatedStripe(world, key)),
    now: () => world.clock.now(),
    price: "price_small",
    buyer: {
      async buy(id) {
        const bought = session(id);
        const subscription = `sub_${world.id()}`;
        const { metadata } = bought;
        world.subscriptions.set(subscription, {
          id: subscription,
          session: id,
          metadata,
          status: "active",
          dispute: null,
          refunded: false,
        });
        Object.assign(bought, { status: "complete", paymentStatus: "paid", subscription });
      },
      async expire(id) {
        session(id).status = "expired";
      },
      async payLate(id) {
        const bought = session(id);
        await this.buy(id);
        Object.assign(bought, { paymentStatus: "unpaid", collected: true });
      },
      async cancel(id) {
        const subscription = world.subscriptions.get(id) ?? assert.fail(`no subscription ${id}`);
        Object.assign(subscription, { status: "canceled", endedAt: world.clock.now() });
      },
    },
  };
}
const account = simulatedAccount();
stripeContract("the simulation's model", () => account);

courierContract("the simulation's model", async () => {
  const world = calmWorld();
  return {
    courier: driven(world.clock, simulatedCourier(world)),
    arrived: (channel) => world.told.filter((one) => one.channel === channel).map(({ id }) => id),
    next: (_channel, fault) => world.courierFaults.push(fault),
    async goAway() {
      world.isUnreachable = true;
    },
    close: async () => {},
  };
});

async function simulatedMachine(): Promise<MachineUnderTest> {
  const world = calmWorld();
  const [boot, controller] = [world.chance.keyPair(), world.chance.keyPair()];
  const order = {
    name: "claw-test-1",
    server_type: "cx23",
    location: "fsn1",
    labels: {},
    user_data: userData({
      bootHostKey: boot.privateKey.expose(),
      bootHostPublicKey: boot.publicKey,
      controllerPublicKey: controller.publicKey,
    }),
  };
  const call = { method: "POST", path: "/servers", body: JSON.stringify(order), priority: "refill" } as const;
  const wire = driven(world.clock, simulatedWire(world));
  await wire.send(call, Number.POSITIVE_INFINITY);
  const server = world.server("192.0.2.1") ?? assert.fail("no server");
  await wire.send(
    { ...call, body: JSON.stringify({ ...order, name: "claw-test-2" }) },
    Number.POSITIVE_INFINITY,
  );
  const booting = world.server("192.0.2.2") ?? assert.fail("no second server");
  await world.clock.advance(60_000);
  booting.bootedAt = Number.POSITIVE_INFINITY;
  Object.assign(server.machine, { prepared: true, gatewayToken: "pool-token" });
  const ssh = simulatedSsh(world);
  const target = (username: string) => ({
    host: server.ipv4,
    port: 22,
    username,
    privateKey: controller.privateKey,
    hostKey: server.machine.hostKey,
  });
  const { mintKey } = driven(world.clock, simulatedTailnet(world));
  return {
    ssh: {
      connect: async (to) => driven(world.clock, await world.clock.until(ssh.connect(to))),
    },
    target,
    closed: { host: booting.ipv4 },
    arm: async () =>
      driven(world.clock, await world.clock.until(arm(ssh, target("root"), { clock: world.clock }))),
    currentToken: async () => server.machine.gatewayToken ?? "",
    async join(hostname) {
      const { key } = await mintKey({
        tags: ["tag:claw"],
        expirySeconds: 600,
        description: "",
        ephemeral: false,
      });
      return { key: key.expose(), hostname };
    },
    online: async (node) => world.devices.get(node)?.online ?? false,
    async forget() {
      Object.assign(server.machine, { noted: undefined, done: null, customer: null, tailnetNode: null });
    },
  };
}
describe("simulated machines", () => {
  let machine: MachineUnderTest;
  before(async () => {
    machine = await simulatedMachine();
  });
  machineContract("the simulation's model", () => machine);
});

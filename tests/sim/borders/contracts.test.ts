/** The simulated borders pass the same suites as the real ones do on the local cloud. */

import { strict as assert } from "node:assert";
import type { GateLedger } from "../../../pool/cloud/cloud.ts";
import { permit } from "../../gate/rig.ts";
import { hetznerContract } from "../../hetzner-client/contract.ts";
import { type StripeUnderTest, stripeContract } from "../../stripe/contract.ts";
import { tailnetContract } from "../../tailnet/contract.ts";
import { type TerraformUnderTest, terraformContract } from "../../terraform/contract.ts";
import { machineInput } from "../../terraform/rig.ts";
import { Incarnation } from "../incarnation.ts";
import { World } from "../world.ts";
import { driven } from "./driven.ts";
import { simulatedGate } from "./gate.ts";
import { simulatedCloud, simulatedWire } from "./hetzner.ts";
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
      async cancel(id) {
        const subscription = world.subscriptions.get(id) ?? assert.fail(`no subscription ${id}`);
        Object.assign(subscription, { status: "canceled", endedAt: world.clock.now() });
      },
    },
  };
}
const account = simulatedAccount();
stripeContract("the simulation's model", () => account);

/** The customer's side of a served agent: from another node of the tailnet, as a customer would. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { OrderView } from "../../api/views.ts";
import { systemClock } from "../../pool/clock.ts";
import { Secret } from "../../pool/secrets/secret.ts";
import { createTailnet } from "../../pool/tailnet/client.ts";
import type { LocalCloud } from "./local-cloud.ts";
import { startNode, type TailnetNode } from "./tailscale/node.ts";

const gatewayPort = 18_789;

export interface AgentAnswer {
  readonly status: number;
  readonly body: string;
}

export interface Customer {
  /** A request to the agent's gateway of a machine. */
  request(
    view: OrderView,
    path: string,
    init?: { method?: string; headers?: Record<string, string>; body?: string },
  ): Promise<AgentAnswer>;
  /** Sends one chat message, returns the reply. @throws Error with the gateway's answer when it is none. */
  ask(view: OrderView, gatewayToken: string, text: string): Promise<string>;
  /** The tailnet node of this customer; null with process machines, whose tailnet is simulated. */
  readonly node: TailnetNode | null;
  close(): Promise<void>;
}

/** Joins the tailnet as another node where the tailnet is real; talks to the stand-in gateway's own port otherwise. */
export async function becomeCustomer(cloud: LocalCloud, dir: string): Promise<Customer> {
  const node = cloud.binaries ? await joinTailnet(cloud, dir) : null;

  const request: Customer["request"] = async (view, path, init = {}) => {
    if (node) return node.fetch(`http://${view.machine?.tailnet_address}:${gatewayPort}${path}`, init);
    const answer = await fetch(`${await standInGateway(cloud, view)}${path}`, init);
    return { status: answer.status, body: await answer.text() };
  };

  return {
    node,
    request,
    async ask(view, gatewayToken, text) {
      const answer = await request(view, "/v1/chat/completions", {
        method: "POST",
        headers: { authorization: `Bearer ${gatewayToken}`, "content-type": "application/json" },
        body: JSON.stringify({ model: "openclaw", messages: [{ role: "user", content: text }] }),
      });
      if (answer.status !== 200) throw new Error(`the agent answered ${answer.status}: ${answer.body}`);
      return JSON.parse(answer.body).choices[0].message.content;
    },
    close: async () => {
      await node?.close();
    },
  };
}

async function joinTailnet({ tailscale, binaries }: LocalCloud, dir: string): Promise<TailnetNode> {
  if (!binaries) throw new Error("no Tailscale programs");
  const tailnet = createTailnet({
    apiUrl: tailscale.apiUrl,
    clientId: tailscale.clientId,
    clientSecret: new Secret(tailscale.clientSecret),
    clock: systemClock,
  });
  const key = await tailnet.mintKey({ tags: ["tag:claw-vm"], expirySeconds: 300, description: "customer" });
  return startNode({
    binaries,
    dir,
    controlUrl: tailscale.controlUrl,
    authKey: key.key.expose(),
    hostname: "customer",
  });
}

/** Every process machine has a gateway of its own on loopback; its machine file says where. */
async function standInGateway(cloud: LocalCloud, view: OrderView): Promise<string> {
  if (!cloud.rootOf) throw new Error("these machines have no folders");
  const { endpoint, token } = cloud.hetzner;
  const headers = { authorization: `Bearer ${token}` };
  const listed = await fetch(`${endpoint}/servers?name=${view.machine?.name}`, { headers });
  const [server] = ((await listed.json()) as { servers: { id: number }[] }).servers;
  if (!server) throw new Error(`Hetzner has no server ${view.machine?.name}`);
  const file = join(cloud.rootOf(server.id), "etc/clawpool/machine.json");
  const { gateway } = JSON.parse(await readFile(file, "utf8"));
  return `http://${gateway.host}:${gateway.port}`;
}

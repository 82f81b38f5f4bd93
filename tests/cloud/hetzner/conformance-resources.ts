import type { Rig } from "./rig.ts";

/** Each calls every operation of its kind once with success; rig.ts holds the answers against the description. */

export async function exerciseVolumes({ must, clock, runningServer }: Rig): Promise<void> {
  const server = await runningServer("with-volumes", { location: "fsn1" });
  const { volume } = await must("POST", "/volumes", {
    name: "v",
    size: 10,
    server: server.id,
    format: "ext4",
    labels: { a: "b" },
  });
  await clock.advance(60_000);
  await must("PUT", `/volumes/${volume.id}`, { name: "v2" });
  const steps: [string, unknown?][] = [
    ["detach"],
    ["attach", { server: server.id, automount: true }],
    ["resize", { size: 20 }],
    ["change_protection", { delete: false }],
  ];
  for (const [name, body] of steps) {
    await must("POST", `/volumes/${volume.id}/actions/${name}`, body);
    await clock.advance(60_000);
  }
  await readAll(must, "volumes", volume.id);
  await must("GET", `/servers/${server.id}`);
  await must("DELETE", `/servers/${server.id}`);
  await clock.advance(60_000);
  await must("DELETE", `/volumes/${volume.id}`);
}

export async function exerciseAddresses({ must, clock, runningServer }: Rig): Promise<void> {
  const server = await runningServer("with-addresses", {
    location: "fsn1",
    public_net: { enable_ipv4: false },
  });
  await must("POST", `/servers/${server.id}/actions/poweroff`);
  await clock.advance(60_000);
  const target = { assignee_type: "server", assignee_id: server.id };
  const { primary_ip: primary } = await must("POST", "/primary_ips", { name: "p", type: "ipv4", ...target });
  await clock.advance(60_000);
  await must("PUT", `/primary_ips/${primary.id}`, { labels: { a: "b" } });
  const { floating_ip: floating } = await must("POST", "/floating_ips", { type: "ipv4", server: server.id });
  await clock.advance(60_000);
  await must("PUT", `/floating_ips/${floating.id}`, { description: "d" });
  const steps: [string, string, unknown?][] = [
    [`primary_ips/${primary.id}`, "unassign"],
    [`primary_ips/${primary.id}`, "assign", target],
    [`primary_ips/${primary.id}`, "change_dns_ptr", { ip: primary.ip, dns_ptr: "p.example.org" }],
    [`primary_ips/${primary.id}`, "change_protection", { delete: false }],
    [`floating_ips/${floating.id}`, "unassign"],
    [`floating_ips/${floating.id}`, "assign", { server: server.id }],
    [`floating_ips/${floating.id}`, "change_dns_ptr", { ip: floating.ip, dns_ptr: "f.example.org" }],
    [`floating_ips/${floating.id}`, "change_protection", { delete: false }],
  ];
  for (const [path, name, body] of steps) {
    await must("POST", `/${path}/actions/${name}`, body);
    await clock.advance(60_000);
  }
  await must("GET", `/servers/${server.id}`);
  await readAll(must, "primary_ips", primary.id);
  await readAll(must, "floating_ips", floating.id);
  await must("DELETE", `/servers/${server.id}`);
  await clock.advance(60_000);
  await must("DELETE", `/primary_ips/${primary.id}`);
  await must("DELETE", `/floating_ips/${floating.id}`);
}

export async function exerciseNetworks({ must, clock }: Rig): Promise<void> {
  const { network } = await must("POST", "/networks", { name: "wide", ip_range: "10.64.0.0/16" });
  const route = { destination: "10.128.0.0/24", gateway: "10.64.0.2" };
  const steps: [string, unknown][] = [
    ["add_route", route],
    ["change_ip_range", { ip_range: "10.64.0.0/15" }],
    ["change_protection", { delete: false }],
    ["delete_route", route],
  ];
  for (const [name, body] of steps) {
    await must("POST", `/networks/${network.id}/actions/${name}`, body);
    await clock.advance(60_000);
    await must("GET", `/networks/${network.id}`);
  }
  await must("DELETE", `/networks/${network.id}`);
}

export async function exerciseLoadBalancers({ must, clock }: Rig): Promise<void> {
  const order = { name: "l", load_balancer_type: "lb11", location: "fsn1" };
  const { load_balancer: balancer } = await must("POST", "/load_balancers", order);
  await clock.advance(60_000);
  await must("PUT", `/load_balancers/${balancer.id}`, { labels: { a: "b" } });
  const steps: [string, unknown][] = [
    ["change_dns_ptr", { ip: balancer.public_net.ipv4.ip, dns_ptr: "l.example.org" }],
    ["change_protection", { delete: false }],
    ["change_algorithm", { type: "least_connections" }],
    ["change_type", { load_balancer_type: "lb21" }],
  ];
  for (const [name, body] of steps) {
    await must("POST", `/load_balancers/${balancer.id}/actions/${name}`, body);
    await clock.advance(60_000);
  }
  await readAll(must, "load_balancers", balancer.id);
  await must("GET", "/load_balancer_types");
  await must("GET", "/load_balancer_types/1");
  await must("DELETE", `/load_balancers/${balancer.id}`);
}

async function readAll(must: Rig["must"], collection: string, id: number): Promise<void> {
  await must("GET", `/${collection}`);
  await must("GET", `/${collection}/${id}`);
  const { actions } = await must("GET", `/${collection}/${id}/actions`);
  await must("GET", `/${collection}/${id}/actions/${actions[0]?.id}`);
  await must("GET", `/${collection}/actions`);
  await must("GET", `/${collection}/actions/${actions[0]?.id}`);
}

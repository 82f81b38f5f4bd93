import { publicKey, type Rig, serverOrder } from "./rig.ts";

/** Uses every operation of images and ISOs, and those of servers that need no other kind of resource. */
export async function exerciseServers({ must, clock }: Rig): Promise<void> {
  const settle = () => clock.advance(3_600_000);
  const key = (await must("POST", "/ssh_keys", { name: "rescuer", public_key: publicKey("r") })).ssh_key.id;
  const subnets = [{ type: "cloud", network_zone: "eu-central", ip_range: "10.7.0.0/24" }];
  const networkOrder = { name: "of-servers", ip_range: "10.7.0.0/16", subnets };
  const network = (await must("POST", "/networks", networkOrder)).network.id;
  const { server } = await must("POST", "/servers", { ...serverOrder("s-1"), networks: [network] });
  await settle();
  const act = async (name: string, body?: unknown) => {
    const answer = await must("POST", `/servers/${server.id}/actions/${name}`, body);
    await settle();
    return answer;
  };
  await act("change_alias_ips", { network, alias_ips: ["10.7.0.9"] });
  await act("change_dns_ptr", { ip: server.public_net.ipv4?.ip, dns_ptr: "s-1.example.org" });
  await act("enable_rescue", { type: "linux64", ssh_keys: [key] });
  await act("disable_rescue");
  await act("reset_password");
  await act("request_console");
  await act("attach_iso", { iso: "8637" });
  await act("detach_iso");
  await act("enable_backup");
  const { image } = await act("create_image", { type: "backup" });
  await must("GET", "/images?type=backup&type=system&sort=created:desc");
  await must("GET", `/images/${image.id}`);
  await must("PUT", `/images/${image.id}`, { type: "snapshot", description: "kept", labels: { a: "b" } });
  await must("POST", `/images/${image.id}/actions/change_protection`, { delete: false });
  await act("disable_backup");
  await act("rebuild", { image: "ubuntu-24.04" });
  await act("poweroff");
  await act("change_type", { server_type: "cx33", upgrade_disk: true });
  const { actions } = await must("GET", `/images/${image.id}/actions`);
  await must("GET", `/images/${image.id}/actions/${actions[0]?.id}`);
  await must("GET", "/images/actions");
  await must("GET", `/images/actions/${actions[0]?.id}`);
  const now = new Date(clock.now());
  const hourAgo = new Date(clock.now() - 3_600_000);
  const query = `type=cpu,disk&type=network&start=${hourAgo.toISOString()}&end=${now.toISOString()}`;
  await must("GET", `/servers/${server.id}/metrics?${query}`);
  await must("GET", "/isos?architecture=x86&include_architecture_wildcard=true");
  await must("GET", "/isos/8638");
  await must("DELETE", `/images/${image.id}`);
  await must("DELETE", `/servers/${server.id}`);
  await settle();
  await must("DELETE", `/networks/${network}`);
  await must("DELETE", `/ssh_keys/${key}`);
}

/** What terraform plans when one attribute of a resource changes: to change it in place, or to replace the resource. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startHetzner } from "../hetzner/hetzner.ts";
import { nullBackend } from "../machines/null.ts";
import { key, network, ref, server, subnet } from "./scenarios/config.ts";
import { openTerraformFolder, token } from "./terraform-folder.ts";

/** By type and attribute: `update`, `replace`, `no-op`. */
export type Rules = Readonly<Record<string, Readonly<Record<string, string>>>>;

interface Rule {
  /** The resource before the change; `name` is unique. */
  readonly before: (name: string, index: number) => object;
  /** The new value of each attribute that can be set. */
  readonly changes: Readonly<Record<string, unknown>>;
}

const id = (address: string) => ref(`${address}.id`);
const otherKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZWVlZ other";
const labels = { a: "1" };

/** What the others refer to. */
const common = {
  hcloud_ssh_key: { common: key },
  hcloud_network: { n: network, m: { name: "m", ip_range: "10.1.0.0/16" } },
  hcloud_network_subnet: { s: subnet() },
  hcloud_firewall: { common: { name: "common" }, other: { name: "other" } },
  hcloud_placement_group: { common: { name: "common", type: "spread" } },
  hcloud_server: { common: server("common") },
};

const rules: Readonly<Record<string, Rule>> = {
  hcloud_server: {
    before: (name) => server(name),
    changes: {
      name: "renamed",
      server_type: "cx33",
      image: "ubuntu-24.04",
      location: "nbg1",
      user_data: "#cloud-config\n",
      ssh_keys: [id("hcloud_ssh_key.common")],
      labels,
      firewall_ids: [id("hcloud_firewall.common")],
      ignore_remote_firewall_ids: true,
      placement_group_id: id("hcloud_placement_group.common"),
      keep_disk: true,
      allow_deprecated_images: true,
      backups: true,
      iso: "8637",
      rescue: "linux64",
      delete_protection: true,
      rebuild_protection: true,
      shutdown_before_deletion: true,
      public_net: [{ ipv6_enabled: false }],
      network: [{ network_id: id("hcloud_network.n") }],
    },
  },
  hcloud_ssh_key: {
    before: (name, index) => ({ name, public_key: key.public_key.replace("JDAC9", `JDAC${index}`) }),
    changes: { name: "renamed", public_key: otherKey, labels },
  },
  hcloud_firewall: {
    before: (name) => ({ name }),
    changes: {
      name: "renamed",
      labels,
      rule: [{ direction: "in", protocol: "icmp", source_ips: ["0.0.0.0/0"] }],
      apply_to: [{ label_selector: "a=1" }],
    },
  },
  hcloud_firewall_attachment: {
    before: () => ({ firewall_id: id("hcloud_firewall.common"), label_selectors: ["a=1"] }),
    changes: {
      firewall_id: id("hcloud_firewall.other"),
      server_ids: [id("hcloud_server.common")],
      label_selectors: ["a=2"],
    },
  },
  hcloud_network: {
    before: (name) => ({ name, ip_range: "10.0.0.0/8" }),
    changes: {
      name: "renamed",
      ip_range: "10.0.0.0/9",
      labels,
      delete_protection: true,
      expose_routes_to_vswitch: true,
    },
  },
  hcloud_network_subnet: {
    before: (_name, index) => subnet({ ip_range: `10.0.${index + 10}.0/24` }),
    changes: {
      network_id: id("hcloud_network.m"),
      type: "server",
      network_zone: "us-east",
      ip_range: "10.0.99.0/24",
      vswitch_id: 1,
    },
  },
  hcloud_server_network: {
    before: (name) => ({ server_id: id(`hcloud_server.${name}`), subnet_id: id("hcloud_network_subnet.s") }),
    changes: {
      server_id: id("hcloud_server.common"),
      network_id: null,
      subnet_id: `${id("hcloud_network.m")}-10.1.0.0/24`,
      ip: "10.0.1.99",
      alias_ips: ["10.0.1.98"],
    },
  },
  hcloud_placement_group: {
    before: (name) => ({ name, type: "spread" }),
    changes: { name: "renamed", type: "spread", labels },
  },
  hcloud_primary_ip: {
    before: (name) => ({ name, type: "ipv4", location: "fsn1" }),
    changes: {
      name: "renamed",
      type: "ipv6",
      location: "nbg1",
      assignee_id: id("hcloud_server.common"),
      assignee_type: "server",
      auto_delete: true,
      labels,
      delete_protection: true,
    },
  },
  hcloud_snapshot: {
    before: (name) => ({ server_id: id(`hcloud_server.${name}`) }),
    changes: { description: "other", server_id: id("hcloud_server.common"), labels },
  },
  hcloud_volume: {
    before: (name) => ({ name, size: 10, location: "fsn1" }),
    changes: {
      name: "renamed",
      size: 20,
      location: "nbg1",
      server_id: id("hcloud_server.common"),
      labels,
      automount: true,
      format: "ext4",
      delete_protection: true,
    },
  },
};

/** What a change leaves out of the resource as it was before: the two exclude each other. */
const instead: Readonly<Record<string, string>> = { assignee_id: "location", network_id: "subnet_id" };
/** What a change needs beside it. */
const beside: Readonly<Record<string, object>> = {
  assignee_id: { assignee_type: "server" },
  network_id: { network_id: id("hcloud_network.m") },
};

const instanceName = (type: string, attribute: string): string =>
  `${type.slice("hcloud_".length)}-${attribute}`.replaceAll("_", "-");

/** Every resource is made once for each of its attributes, then each has that one attribute changed. */
function configuration(changed: boolean): object {
  const resource: Record<string, Record<string, object>> = structuredClone(common);
  for (const [type, { before, changes }] of Object.entries(rules)) {
    for (const [index, [attribute, value]] of Object.entries(changes).entries()) {
      const name = instanceName(type, attribute);
      if (JSON.stringify(before(name, index)).includes(`hcloud_server.${name}.`)) {
        resource.hcloud_server = { ...resource.hcloud_server, [name]: server(name) };
      }
      const { [instead[attribute] ?? ""]: _, ...rest } = before(name, index) as Record<string, object>;
      const made = changed
        ? { ...(attribute in instead ? rest : before(name, index)), [attribute]: value, ...beside[attribute] }
        : before(name, index);
      resource[type] = { ...resource[type], [name]: made };
    }
  }
  return { resource };
}

interface Plan {
  readonly resource_changes: readonly {
    readonly type: string;
    readonly name: string;
    readonly change: { readonly actions: readonly string[] };
  }[];
}

/** Plans all changes with the provider of the mirror, against the emulated Hetzner. */
export async function readRules(): Promise<Rules> {
  const folder = await openTerraformFolder("http://127.0.0.1:1/v1");
  const stateDir = join(folder.dir, "hetzner");
  const hetzner = await startHetzner({
    stateDir,
    backend: nullBackend(),
    tokens: [token],
    speed: 10_000,
    requestsPerHour: 1_000_000,
  });
  try {
    const env = { HCLOUD_ENDPOINT: hetzner.endpoint };
    const run = async (...args: string[]) => {
      const { exitCode, diagnostics } = await folder.tell(args, { env });
      if (exitCode !== 0) throw new Error(`terraform ${args[0]}: ${JSON.stringify(diagnostics)}`);
    };
    await folder.configure(configuration(false));
    await run("apply", "-auto-approve");
    await folder.configure(configuration(true));
    await run("plan", "-out=plan");
    const plan = JSON.parse((await folder.run(["show", "-json", "plan"])).stdout) as Plan;
    const planned = (type: string, attribute: string) => {
      const name = instanceName(type, attribute);
      const found = plan.resource_changes.find((one) => one.type === type && one.name === name);
      return found?.change.actions.length === 2
        ? "replace"
        : (found?.change.actions[0] ?? "no such resource");
    };
    return Object.fromEntries(
      Object.entries(rules).map(([type, { changes }]) => [
        type,
        Object.fromEntries(Object.keys(changes).map((attribute) => [attribute, planned(type, attribute)])),
      ]),
    );
  } finally {
    await hetzner.close();
    await rm(stateDir, { recursive: true, force: true });
    await folder.close();
  }
}

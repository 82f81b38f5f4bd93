/** Pieces of terraform configurations. */

/** `"${hcloud_server.a.id}"`, of which JSON has no other form. */
export const ref = (path: string): string => `\${${path}}`;

export const key = {
  name: "key",
  public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDAC9VU7APDnCCvX5QiSQ9WLytTvRbUo/soPk0znodl test",
};

/** The least that a server needs. */
export const server = (name: string, more: object = {}) => ({
  name,
  server_type: "cx23",
  image: "debian-12",
  location: "fsn1",
  ...more,
});

export const network = { name: "n", ip_range: "10.0.0.0/16" };

export const subnet = (more: object = {}) => ({
  network_id: ref("hcloud_network.n.id"),
  type: "cloud",
  network_zone: "eu-central",
  ip_range: "10.0.1.0/24",
  ...more,
});

/**
 * A configuration of resources by address, each made after the one before it, so that every run has the same order of
 * requests. A resource can refer to earlier ones only.
 */
export const chain = (byAddress: Readonly<Record<string, object>>) => ({ resource: chained(byAddress, "") });

/** The same for data sources, each read after the one before it; addresses without `data.`. */
export const dataChain = (byAddress: Readonly<Record<string, object>>) => ({
  data: chained(byAddress, "data."),
});

function chained(byAddress: Readonly<Record<string, object>>, prefix: string): Record<string, object> {
  const resource: Record<string, Record<string, object>> = {};
  let before: string[] = [];
  for (const [address, attributes] of Object.entries(byAddress)) {
    const [type = "", name = ""] = address.split(".");
    resource[type] = { ...resource[type], [name]: { ...attributes, depends_on: before } };
    before = [prefix + address];
  }
  return resource;
}

export const destroy = { name: "destroy", does: ["destroy"] } as const;
/** Must find nothing to do. */
export const again = { name: "plan again", does: ["plan"] } as const;

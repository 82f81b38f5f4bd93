/**
 * Hetzner's metadata service for the machines of one local cloud. It listens on the bridge; the machines reach it
 * at http://169.254.169.254 (network.ts redirects) and are told apart by their source address. As the real one it
 * asks for no credential: any process on a machine can read user_data. Paths: Hetzner's documentation, "Server
 * metadata"; the document's keys: cloud-init, sources/helpers/hetzner.py and DataSourceHetzner.py.
 */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { stringify } from "yaml";
import type { MachineSpec, PrivateInterface } from "../backend.ts";

export interface MetadataService {
  readonly port: number;
  close(): Promise<void>;
}

/** Data centre and network zone of each location, as Hetzner's API lists them. */
const places: Record<string, { zone: string; region: string }> = {
  fsn1: { zone: "fsn1-dc14", region: "eu-central" },
  nbg1: { zone: "nbg1-dc3", region: "eu-central" },
  hel1: { zone: "hel1-dc2", region: "eu-central" },
  ash: { zone: "ash-dc1", region: "us-east" },
  hil: { zone: "hil-dc1", region: "us-west" },
  sin: { zone: "sin-dc1", region: "ap-southeast" },
};

interface Instance {
  readonly spec: MachineSpec;
  readonly networks: readonly { readonly own: PrivateInterface }[];
}

/** @param find the machine that has an address */
export async function serveMetadata(
  address: string,
  find: (ipv4: string) => Instance | undefined,
): Promise<MetadataService> {
  const server = createServer((request, response) => {
    const ipv4 = request.socket.remoteAddress ?? "";
    const instance = find(ipv4);
    const path = (request.url ?? "").replace(/\/$/, "");
    const body = instance ? answer(path, instance, ipv4) : undefined;
    if (body === undefined) response.writeHead(404).end();
    else response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end(body);
  });
  server.listen(0, address);
  await once(server, "listening");
  return { port: (server.address() as AddressInfo).port, close: () => close(server) };
}

async function close(server: Server): Promise<void> {
  server.close();
  server.closeAllConnections();
  await once(server, "close");
}

function answer(path: string, instance: Instance, ipv4: string): string | undefined {
  const base = "/hetzner/v1";
  if (path === `${base}/userdata`) return instance.spec.userData;
  const fields = metadata(instance, ipv4);
  if (path === `${base}/metadata`) return stringify(fields);
  const key = path.startsWith(`${base}/metadata/`) ? path.slice(`${base}/metadata/`.length) : "";
  if (!Object.hasOwn(fields, key)) return undefined;
  const value: unknown = fields[key];
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : stringify(value);
}

function metadata({ spec, networks }: Instance, ipv4: string): Record<string, unknown> {
  const place = places[spec.location];
  return {
    "availability-zone": place?.zone ?? spec.location,
    hostname: spec.name,
    "instance-id": spec.id,
    "private-networks": networks.map(({ own }, index) => ({
      ip: own.ip,
      alias_ips: [...own.aliasIps],
      interface_num: index + 1,
      mac_address: own.macAddress,
      network_id: own.network,
      network: own.ipRange,
      gateway: own.gateway,
    })),
    "public-ipv4": ipv4,
    "public-keys": spec.sshKeys,
    region: place?.region ?? spec.location,
  };
}

/**
 * A local cloud for a test to kill, with all that machines can leave on a host: one that runs with a volume and (nspawn)
 * a private network, one in the rescue system, a snapshot. Says where it is, then waits.
 */
import { parseArgs } from "node:util";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type MachineKind, startLocalCloud } from "./local-cloud.ts";

const { positionals } = parseArgs({ allowPositionals: true });
const [machines, dir = ""] = positionals;
const cloud = await startLocalCloud({ machines: machines as MachineKind, dir });
const { backend } = cloud;
const sshKeys = [generateKeyPair().publicKey];
const create = (id: number) =>
  backend.create({
    ...{ id, name: `claw-doomed-${id}`, image: "debian-12", userData: "#cloud-config\n{}\n", sshKeys },
    ...{ location: "fsn1", cores: 1, memoryGiB: 1 },
  });
const { ipv4 } = await create(1);
await create(2);
await backend.createVolume({ id: 3, size: 10, format: "ext4" });
await backend.setRescue(2, { sshKeys, password: "" });
await Promise.all([backend.powerOn(1), backend.powerOn(2)]);
await backend.attachVolume(1, 3, true);
if (backend.kind === "nspawn") {
  await backend.attachNetwork(1, {
    ...{ network: 4, ip: "10.0.0.2", aliasIps: [], macAddress: "86:00:00:00:00:02" },
    ...{ ipRange: "10.0.0.0/16", gateway: "10.0.0.1" },
  });
}
await backend.snapshot(1);
const { hetzner, stripe, model, tailscale } = cloud;
const urls = [hetzner.endpoint, stripe.apiUrl, model.url, tailscale.apiUrl, tailscale.controlUrl];
console.log(JSON.stringify({ ipv4, urls }));

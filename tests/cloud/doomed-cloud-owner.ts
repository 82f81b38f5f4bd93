/** A local cloud with one machine for a test to kill: says where it is, then waits. */
import { parseArgs } from "node:util";
import { generateKeyPair } from "../../pool/ssh/keys.ts";
import { type MachineKind, startLocalCloud } from "./local-cloud.ts";

const { positionals } = parseArgs({ allowPositionals: true });
const [machines, dir = ""] = positionals;
const cloud = await startLocalCloud({ machines: machines as MachineKind, dir });
const { ipv4 } = await cloud.backend.create({
  id: 1,
  name: "claw-doomed-1",
  image: "debian-12",
  userData: "#cloud-config\n{}\n",
  sshKeys: [generateKeyPair().publicKey],
  location: "fsn1",
  cores: 1,
  memoryGiB: 1,
});
await cloud.backend.powerOn(1);
const { hetzner, stripe, model, tailscale } = cloud;
const urls = [hetzner.endpoint, stripe.apiUrl, model.url, tailscale.apiUrl, tailscale.controlUrl];
console.log(JSON.stringify({ ipv4, urls }));

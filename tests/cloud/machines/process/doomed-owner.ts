/** A local cloud of folder machines for a test to kill: one machine with its gateway, then it waits. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { generateKeyPair, publicKeyOf } from "../../../../pool/ssh/keys.ts";
import { createSsh } from "../../../../pool/ssh/ssh2.ts";
import { answers, until } from "../probe.ts";
import { createProcessBackend } from "./backend.ts";

const [stateDir = ""] = process.argv.slice(2);
const backend = createProcessBackend({ stateDir, sshPort: 22_122 });
await backend.start();
const key = generateKeyPair();
const { ipv4 } = await backend.create({
  id: 1,
  name: "claw-doomed-1",
  image: "debian-12",
  userData: "",
  sshKeys: [key.publicKey],
  location: "fsn1",
  cores: 2,
  memoryGiB: 4,
});
await backend.powerOn(1);

const root = backend.rootOf(1);
const state = join(root, "home/openclaw/.openclaw");
const secrets = join(root, "secrets");
const id = "CLAW_GATEWAY_TOKEN";
await mkdir(state, { recursive: true });
await writeFile(
  secrets,
  `#!/bin/sh\necho '{"protocolVersion":1,"values":{"${id}":"a-token-for-nobody"}}'\n`,
  { mode: 0o700 },
);
await writeFile(
  join(state, "openclaw.json"),
  JSON.stringify({
    gateway: { port: 18_789, auth: { token: { source: "exec", provider: "dotenv", id } } },
    secrets: { providers: { dotenv: { source: "exec", command: secrets } } },
  }),
);
const hostKey = publicKeyOf(await readFile(join(root, "etc/ssh/ssh_host_ed25519_key"), "utf8"));
const target = { host: ipv4, port: 22_122, username: "root", privateKey: key.privateKey, hostKey };
const connection = await createSsh().connect(target);
await connection.exec("machinectl restart");
const sockets = dirname((await connection.exec('printf %s "$MACHINE_CONTROL"')).stdout);
await until(() => answers(ipv4, 18_789));
console.log(JSON.stringify({ address: ipv4, gateway: "18789", sockets }));

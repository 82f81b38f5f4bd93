/** A program that starts a local cloud with one machine, says so, and then waits to be killed. */
import { ed25519KeyPair } from "../probe.ts";
import { createNspawnBackend } from "./backend.ts";

const [id, stateDir] = process.argv.slice(2);
if (!id || !stateDir) throw new Error("usage: doomed-owner.ts ID STATE-DIR");
const backend = createNspawnBackend({ id, stateDir });
await backend.start();
const sshKeys = [ed25519KeyPair("root").public];
const spec = { id: 7, name: "claw-doomed", image: "debian-12", userData: "", sshKeys };
await backend.create({ ...spec, location: "fsn1", cores: 1, memoryGiB: 1 });
await backend.powerOn(7);
process.stdout.write("machine is on\n");
setInterval(() => {}, 60_000);

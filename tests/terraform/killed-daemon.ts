/** Stands for a daemon that dies: applies the machine of the JSON document in its first argument. */
import { Secret } from "../../pool/secrets/secret.ts";
import { createTerraform } from "../../pool/terraform/create-terraform.ts";

const { root, cliConfig, endpoint, input } = JSON.parse(process.argv[2] ?? "");
const terraform = createTerraform({ root, bin: "terraform", cliConfig });
await terraform.applyMachine(input, { endpoint, token: new Secret(process.env.TOKEN ?? "") });

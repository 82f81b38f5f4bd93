#!/usr/bin/env node
// `npx cdktf …`: the CDK's own command line under clawpool's locks and settings (pool/cli/cdktf.ts). npm links this
// file as node_modules/.bin/cdktf; the name there would otherwise belong to nobody, because the CDK library's
// continuation calls its command `cdktn`.
import { realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = resolve(dirname(realpathSync(fileURLToPath(import.meta.url))), "../..");
const bootstrap = await import(pathToFileURL(join(root, "bin", "bootstrap.mjs")).href);
bootstrap.ensureDependencies();
bootstrap.runOnNode24([join(root, "pool", "cli", "cdktf.ts"), ...process.argv.slice(2)]);

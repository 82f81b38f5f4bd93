// `node bin/dev.mjs FILE.ts [ARG …]` runs a TypeScript file, `--exec NAME [ARG …]` a tool from node_modules,
// both on Node 24 and after installing what is missing. The npm scripts go through here.
import { join } from "node:path";
import { ensureDependencies, root, runOnNode24 } from "./bootstrap.mjs";

ensureDependencies();
const [first, ...rest] = process.argv.slice(2);
if (first === "--exec") runOnNode24([join(root, "node_modules", ".bin", rest[0]), ...rest.slice(1)]);
else runOnNode24([join(root, first), ...rest]);

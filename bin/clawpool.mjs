#!/usr/bin/env node
import { join } from "node:path";
import { ensureDependencies, root, runOnNode24 } from "./bootstrap.mjs";

ensureDependencies();
runOnNode24([join(root, "pool", "cli", "main.ts"), ...process.argv.slice(2)]);

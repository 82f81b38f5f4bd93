import type { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { jsonSchema } from "../config/shape.ts";

export function registerConfig(program: Command): void {
  const config = program.command("config").description("look at the configuration");
  config
    .command("check")
    .description("say whether the file is usable, and what it means")
    .action(() => {
      const file = program.opts().config;
      const { pools, maxTotal } = loadConfig(file);
      console.log(
        `${file} is usable: ${pools.length} pool${pools.length === 1 ? "" : "s"}, at most ${maxTotal} machines`,
      );
      for (const pool of pools) {
        const { name, plan, serverType, locations, minReady } = pool;
        console.log(
          `  ${name}: plan ${plan}, ${serverType} in ${locations.join(", ")}; keeps ${minReady} warm, at most ${pool.maxTotal}`,
        );
      }
    });
  config
    .command("schema")
    .description("print the JSON Schema of the file, for editors")
    .action(() => console.log(JSON.stringify(jsonSchema(), null, 2)));
}

import type { Command } from "commander";

export interface SimulateOptions {
  readonly config?: string;
  readonly pool?: string;
  readonly trace?: string;
  readonly history: string;
  readonly leadTime?: string;
  readonly store?: string;
  readonly json?: boolean;
  readonly picture?: string;
}

/** `clawpool simulate [--config new.yaml] [--trace file.csv | --history 8w]`. */
export function registerSimulate(program: Command): void {
  program
    .command("simulate")
    .description(
      "what a configuration would have come to over recorded claims, beside the present one and others",
    )
    .option(
      "--config <file>",
      "the configuration to try (default: only the present one, that of `clawpool -c`)",
    )
    .option("--pool <name>", "only this pool (default: each one)")
    .option("--trace <file>", 'recorded claims: CSV with the header "t,count", t in Unix seconds')
    .option("--history <span>", "own payments of so long, e.g. 8w, 30d", "8w")
    .option("--lead-time <span>", "each build takes so long, e.g. 5m (default: as measured)")
    .option("--store <file>", "the store's file, e.g. of a backup (default: the one in state_dir)")
    .option("--json", "as JSON")
    .option("--picture <file>", "the last two weeks as an SVG, too")
    .action(async (options: SimulateOptions) => {
      // Loaded here alone: forecasts and replay are nothing that other commands need.
      const { runSimulation } = await import("./simulate-report.ts");
      console.log(runSimulation(program.opts().config, options));
    });
}

/** What `npm run bench:handover` tells: docs/benchmarks/handover.md. */
import type { HandOver } from "./measure.ts";
import { describeMachine, median, quantile, summary, table } from "./statistics.ts";

export interface Results {
  /** Orders served from the pool, in order; the first of each machine's life among them. */
  readonly pool: readonly HandOver[];
  readonly fresh: readonly HandOver[];
  readonly config: readonly HandOver[];
  readonly restart: readonly HandOver[];
  readonly cold: readonly HandOver[];
  /** First replies on machines that were prepared without the warm-up turn. */
  readonly unwarmed: readonly HandOver[];
}

const ms = (value: number): string =>
  value >= 10_000 ? `${(value / 1000).toFixed(1)} s` : `${Math.round(value)} ms`;

/** The way from the webhook to the customer, cut into parts that follow each other. */
const parts = [
  ["webhook's request → payment, claim and inbox row committed", null, "claimed"],
  ["claimed → document read on the machine", "claimed", "document"],
  ["document read → attested", "document", "attested"],
  ["attested → order running, committed", "attested", "running"],
  ["running → customer's side told, has the address", "running", "told"],
  ["told → TCP connection through the tailnet stands", "told", "reachable"],
] as const;

function shares(list: readonly HandOver[]): string {
  const total = median(list.map((one) => one.totalMs));
  return table(
    ["part", "p50", "p90", "max", "share of the median whole"],
    parts.map(([name, from, to]) => {
      const took = list.map(
        ({ marks }) => (marks[to] ?? Number.NaN) - (from ? (marks[from] ?? Number.NaN) : 0),
      );
      const share = Math.round((100 * median(took)) / total);
      return [name, ms(median(took)), ms(quantile(took, 0.9)), ms(quantile(took, 1)), `${share} %`];
    }),
  );
}

/** On the machine several things run at once, so each step is told as the time at which it was reached. */
function machineSteps(list: readonly HandOver[]): string {
  const names = [...new Set(list.flatMap(({ machineMs }) => Object.keys(machineMs)))];
  const rows = names.map((name) => {
    const values = list
      .map(({ machineMs }) => machineMs[name] ?? Number.NaN)
      .filter((value) => !Number.isNaN(value));
    return { name, values };
  });
  rows.sort((a, b) => median(a.values) - median(b.values));
  return table(
    ["step reached", "p50", "p90", "max", "in"],
    rows.map(({ name, values }) => [
      name,
      ms(median(values)),
      ms(quantile(values, 0.9)),
      ms(quantile(values, 1)),
      `${values.length} of ${list.length}`,
    ]),
  );
}

function row(name: string, list: readonly HandOver[]): string[] {
  if (list.length === 0) return [name, "0", "not run", "", "", ""];
  const totals = list.map(({ totalMs }) => totalMs);
  return [name, String(list.length), ...[0.5, 0.9, 0.99, 1].map((p) => ms(quantile(totals, p)))];
}

function replies(name: string, list: readonly HandOver[]): string[] {
  const values = list.flatMap(({ chatMs }) => (chatMs === undefined ? [] : [chatMs]));
  if (values.length === 0) return [name, "0", "not run", "", ""];
  const load = median(list.map((one) => one.load)).toFixed(1);
  return [name, String(values.length), ms(median(values)), values.map(ms).join(", "), load];
}

export function headline({ pool }: Pick<Results, "pool">) {
  return summary(pool.map(({ totalMs }) => totalMs));
}

export function report(results: Results): string {
  const { pool } = results;
  const loads = pool.map(({ load }) => load);
  const machines = new Set(pool.map(({ machine }) => machine)).size;
  const load = (p: number) => quantile(loads, p).toFixed(1);
  return `# Pay → serving

From the moment at which the webhook request is sent to the moment at which the order is \`running\` (attested: new token
accepted, pool's token refused, unit active, tailnet address) **and** a TCP connection from another node of the tailnet to
the agent's port stands. Real daemon, real OpenClaw, systemd, sshd and tailscaled in nspawn machines; Hetzner's API,
Stripe and Tailscale's control server are local, so their network round trips are not in these figures: with Tailscale's
own service the join takes about four more round trips and the look for the nearest relay. Written by
\`npm run bench:handover\`.

- Machine: ${describeMachine()}; everything of both sides runs on it
- Load average before each measurement: median ${load(0.5)}, highest ${load(1)}
- Date: ${new Date().toISOString().slice(0, 10)}
- ${machines} machines were built by the daemon and **recycled between measurements, outside of the product**: building one for each
  would take an hour. The benchmark takes the order's record, the tailnet login and the order's row away again, gives
  the controller its access back (so that each hand-over has it to remove), and lets the daemon prove and arm the
  machine anew. First hand-overs of a machine's life are in the second line by themselves.

${table(
  ["way", "n", "p50", "p90", "p99", "max"],
  [
    row("from the pool", pool),
    row("… of these the first of the machine's life", results.fresh),
    row("the order wants another model than the pool's default (config patch)", results.config),
    row("`.env` and restart of the unit (from the sent document on)", results.restart),
    row("pool empty: a machine is built (fast cloud: no waiting for Hetzner)", results.cold),
  ],
)}

p99 by nearest rank: below n = 100 it is the largest.

## Where the time goes (from the pool, n = ${pool.length})

${shares(pool)}

On the machine, milliseconds after the document was read; reload and join run at the same time:

${machineSteps(pool)}

## First reply of the agent, asked for as soon as the port was reachable

${table(
  ["machine", "n", "p50", "all", "load average, median"],
  [
    replies("prepared with a warm-up turn (default)", results.fresh),
    replies("prepared with `clawpool_warm_up: false`", results.unwarmed),
  ],
)}

The model is a local mock that answers at once.
`;
}

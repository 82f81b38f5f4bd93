/** The catalogue of faults as data: which file makes each happen, and what of it is real there. */

/**
 * `local cloud`: the daemon as a process, SQLite in its file, terraform, Ansible, the hand-over program, folder machines;
 * Hetzner, Stripe and Tailscale are the stand-ins of tests/cloud. `simulation`: the whole controller on a virtual clock,
 * with modelled borders (tests/sim). `parts`: the store or the simulation under a script of its own, as `note` says.
 */
type On = "local cloud" | "simulation" | "parts";

export interface Fault {
  readonly fault: string;
  readonly on: readonly On[];
  /** What a reader would expect here and not find. */
  readonly note?: string;
}

const real: readonly On[] = ["local cloud"];
const simulated: readonly On[] = ["simulation"];
const parts: readonly On[] = ["parts"];

export const catalogue: Readonly<Record<string, Fault>> = {
  S1: { fault: "one event twice, and fifty times at once", on: real },
  S2: { fault: "two events of one session", on: real },
  S3: { fault: "unpaid first, cleared later", on: real },
  S4: { fault: "a debit that does not clear", on: real },
  S5: { fault: "cleared before completed", on: real },
  S6: { fault: "ended before completed", on: real },
  S7: { fault: "ended while it is handed over", on: real },
  S8: { fault: "forged, or altered by one byte", on: real },
  S9: { fault: "signed 301 s ago or ahead", on: real },
  S10: { fault: "a valid body replayed", on: real },
  S11: { fault: "the secret is rolled", on: real },
  S12: { fault: "signed garbage", on: real },
  S13: {
    fault: "thin and snapshot event of one change",
    on: real,
    note: "the number is free in the catalogue that this one follows",
  },
  S14: { fault: "an event of the other mode", on: real },
  S15: { fault: "Stripe's API is down", on: real },
  S16: { fault: "a webhook that never comes", on: ["local cloud", "simulation"] },
  S17: { fault: "an event that was never made", on: real },
  S18: { fault: "an end that the object does not show", on: real },
  S19: { fault: "paused, unpaid, resumed", on: simulated, note: "an overdue renewal is in tests/order" },
  S20: { fault: "a dispute", on: simulated, note: "a refund is in tests/order" },
  S21: { fault: "500 payments, five machines", on: simulated },
  S22: { fault: "the database is locked", on: real },
  S23: { fault: "one customer buys twice", on: real },
  D1: {
    fault: "SIGKILL around the commit",
    on: parts,
    note: "under simulation, at each point of the webhook; tests/kills does it to processes",
  },
  D2: { fault: "power cut", on: parts, note: "SQLite's own file and log, cut where they were not synced" },
  D3: { fault: "disk full", on: simulated, note: "every write fails with SQLITE_FULL" },
  D4: {
    fault: "busy database",
    on: simulated,
    note: "one write in ten fails with SQLITE_BUSY; S22 locks the real file",
  },
  D5: { fault: "damaged database", on: parts, note: "SQLite's file" },
  D6: { fault: "yesterday's database", on: real },
  D7: { fault: "no database", on: real },
  D8: {
    fault: "a commit of unknown outcome",
    on: simulated,
    note: "SQLite is the only store; every verb may fail behind its commit",
  },
  D9: { fault: "two daemons, one of them stopped", on: real },
  D10: { fault: "a newer schema", on: parts, note: "SQLite's file" },
  D11: {
    fault: "a decision by old rows",
    on: parts,
    note: "there are no replicas; two connections to one file",
  },
  D12: { fault: "a log that grows", on: parts, note: "SQLite's file" },
  T1: { fault: "terraform killed around its order", on: real },
  T2: { fault: "the daemon killed, terraform lives", on: real },
  T3: { fault: "terraform told to stop", on: real },
  T4: { fault: "a state that is empty, cut, old, foreign", on: real },
  T5: { fault: "errored.tfstate", on: real },
  T6: { fault: "a stale lock", on: real },
  T7: { fault: "the provider crashes", on: real },
  T8: { fault: "several inits at once", on: real },
  T9: { fault: "no registry", on: real },
  T10: { fault: "a person or a plan destroys a customer's machine", on: real },
  T11: { fault: "a destroy that is refused", on: real },
  T12: { fault: "another machine's state", on: real },
  H1: { fault: "rate limit", on: real },
  H2: { fault: "no stock, no quota", on: real },
  H3: { fault: "the answer to an order is lost", on: real },
  H4: {
    fault: "an action ends in error",
    on: real,
    note: "one that never ends is ended by the deadline, as here",
  },
  H5: { fault: "a server vanishes", on: simulated },
  H6: { fault: "lists that lie", on: simulated, note: "with another project's list as an error" },
  H7: { fault: "servers of others", on: real },
  H8: { fault: "the token is refused", on: real },
  H9: { fault: "an address comes back", on: real },
  H10: { fault: "clocks differ", on: simulated },
  A1: { fault: "another host key; a port that stays closed", on: ["local cloud", "simulation"] },
  A2: { fault: "off in the middle of a playbook", on: real },
  A3: { fault: "a playbook that fails or hangs", on: simulated },
  A4: { fault: "all builds fail alike", on: simulated },
  A5: { fault: "dead at the hand-over", on: real },
  A6: { fault: "the daemon killed between claim and hand-over", on: real },
  A7: { fault: "a half-written .env", on: real },
  P1: {
    fault: "SIGKILL at any step",
    on: parts,
    note: "under simulation, at forty steps of a life; `npm run sim -- --kill-points` does all",
  },
  P2: { fault: "SIGTERM once and twice", on: real },
  P3: {
    fault: "the process stands still",
    on: real,
    note: "SIGSTOP; systemd's watchdog is in tests/observe",
  },
  P4: { fault: "the clock jumps", on: simulated },
  P5: { fault: "no file handles", on: real },
  P6: { fault: "a broken, a smaller configuration", on: real },
  N1: { fault: "hostile HTTP", on: real },
  N2: { fault: "a thousand forged webhooks", on: real },
  N3: { fault: "readers who do not read", on: real },
  N4: {
    fault: "nobody to tell for a day",
    on: ["simulation", "parts"],
    note: "on parts: store, sender, HTTP and SMTP are real, and no machine",
  },
  X1: { fault: "injections", on: real, note: "what is refused at the API, and what the machine gets" },
  X2: { fault: "addresses to call", on: real, note: "orders have no such field" },
  X3: { fault: "wrong tokens", on: real },
  X4: { fault: "another site's page", on: real },
  X5: { fault: "a tampered audit log", on: real },
};

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
  D3: {
    fault: "a disk that fills up, and is full",
    on: simulated,
    note: "less and less is free, then every write fails with SQLITE_FULL; T5 has a full disk",
  },
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
  D9: { fault: "two daemons, one of them stopped past its lease and woken", on: real },
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
  T5: { fault: "a full disk under terraform's state", on: real, note: "a tmpfs, mounted by root" },
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
    note: "SIGSTOP, and a stand-in for systemd's watchdog; `npm run bench:times` has systemd itself",
  },
  P4: { fault: "the clock jumps", on: simulated },
  P5: { fault: "no file handles while a machine is built", on: real },
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

/**
 * By what a fault is made, and by what is seen that it was: expressions that its tests must have. Of those faults whose test
 * could stay green without making them.
 */
export const evidence: Readonly<Record<string, readonly RegExp[]>> = {
  S8: [/400/],
  S9: [/301/],
  S22: [/503/],
  D2: [/-wal/],
  D3: [/SQLITE_FULL/, /flags\(diskLow\)/],
  D4: [/SQLITE_BUSY/],
  D9: [/"SIGSTOP"/, /"SIGCONT"/, /fenced\(term\)/, /unfinished/],
  D10: [/user_version/],
  D12: [/logLong/],
  T1: [/"SIGKILL"/],
  T2: [/daemon\.kill\(\)/],
  T3: [/"SIGTERM"/],
  T5: [/"mount"/, /no space left on device/],
  T6: [/lock\.info/],
  T7: [/"SIGKILL"/],
  T10: [/image: "debian-13"/, /the plan is refused/],
  T11: [/"locked"/],
  H1: [/rate_limit_exceeded/],
  H2: [/stock_out/, /resource_limit_exceeded/],
  H3: [/"drop"/],
  H4: [/action_fails/],
  H8: [/"unauthorized"/, /"frozen"/],
  H9: [/reused-address/],
  A1: [/other-host-key/],
  A2: [/powerOff/],
  A5: [/powerOff/],
  A6: [/daemon\.kill\(\)/],
  P2: [/"SIGTERM"/],
  P3: [/"SIGSTOP"/, /timeouts\(\)/],
  P5: [/"prlimit"/, /EMFILE/],
  P6: [/config\.refused/],
  N1: [/408/, /413/, /431/],
  N2: [/1_000/],
  N3: [/pause\(\)/, /connectionsOf\(/],
};

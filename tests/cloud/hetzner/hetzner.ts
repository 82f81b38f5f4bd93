import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import type { MachineBackend } from "../machines/backend.ts";
import { ActionEngine } from "./actions/engine.ts";
import { type Bill, Billing } from "./billing.ts";
import { type Call, CallLog } from "./calls.ts";
import { fastSpeed } from "./catalogue/durations.ts";
import type { Context } from "./context.ts";
import { Faults } from "./faults.ts";
import { createListener } from "./http/listener.ts";
import { RateLimit } from "./http/rate-limit.ts";
import { Router } from "./http/router.ts";
import { type NewProject, randomToken, Tokens } from "./http/tokens.ts";
import { effects, routes } from "./routes.ts";
import type { Kind } from "./store/documents.ts";
import { Store } from "./store/store.ts";

export interface HetznerOptions {
  /**
   * Holds the SQLite file; a start on an old folder goes on with its servers, actions and bill. Servers whose machine
   * is lost (another backend object made it) are `off` and can be deleted.
   */
  readonly stateDir: string;
  /** Started and stopped by the caller. */
  readonly backend: MachineBackend;
  /** One project a token, in this order; 64 characters each, as the provider demands. Default: one random token. */
  readonly tokens?: readonly string[];
  /** Tokens that may only GET, of the same projects in the same order. */
  readonly readOnlyTokens?: readonly string[];
  readonly host?: string;
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** `realistic` (default): actions take as long as at Hetzner; `fast`: a hundredth of that. */
  readonly profile?: "realistic" | "fast";
  /** Divides the duration of every action; stands above `profile`. */
  readonly speed?: number;
  /** Decides the durations of actions and what faults with a probability hit. */
  readonly seed?: number;
  /** Of the whole account. New accounts at Hetzner have 5, older ones more; default 50. */
  readonly serverLimit?: number;
  /** Of the whole account, e.g. `{ primary_ip: 5 }`. Hetzner has more limits than it tells; default: none of these. */
  readonly limits?: Readonly<Partial<Record<Exclude<Kind, "server">, number>>>;
  /**
   * `assignee_type` of a Primary IP without an assignee. `server`, the default, is what the API description lists and
   * clients of before August 2026 expect; its text announces `unassigned` from then on.
   */
  readonly unassignedType?: "server" | "unassigned";
  /** For each project; default 3600, as at Hetzner. */
  readonly requestsPerHour?: number;
  /** A connection that has not sent a request's headers by then is closed, with 408; default 60,000. */
  readonly headersTimeoutMs?: number;
  readonly clock?: Clock;
  /** By which actions last and are dated: `clock`, unless that runs too fast for real machines. */
  readonly actionClock?: Clock;
}

export interface Hetzner {
  /** `http://127.0.0.1:<port>/v1` */
  readonly endpoint: string;
  /** Of the first project. */
  readonly token: string;
  readonly tokens: readonly string[];
  readonly faults: Faults;
  calls(): Call[];
  /** The next call for which `predicate` holds, before its answer goes out. */
  nextCall(predicate: (call: Call) => boolean): Promise<Call>;
  clearCalls(): void;
  /** @param project left out: the whole account */
  bill(project?: number): Bill;
  /** Ids of all projects. */
  projects(): readonly number[];
  /** One more project with tokens of its own; kept for as long as `stateDir` is. */
  createProject(): NewProject;
  /** Cuts open connections; actions that still run go on at the next start. The backend stays as it is. */
  close(): Promise<void>;
}

/** Starts the emulated Hetzner Cloud API. */
export async function startHetzner(options: HetznerOptions): Promise<Hetzner> {
  const { backend, host = "127.0.0.1" } = options;
  const time = options.clock ?? systemClock;
  // Times are stored as whole milliseconds; a clock that runs at another speed gives fractions.
  const clock: Clock = {
    now: () => Math.floor(time.now()),
    delay: (ms, signal) => time.delay(ms, signal),
  };
  const given = options.tokens ?? [randomToken()];
  const seed = options.seed ?? 1;
  const store = new Store(options.stateDir);
  const tokens = openTokens(store, given, options.readOnlyTokens ?? []);
  const billing = new Billing(store, clock);
  const calls = new CallLog(store);
  const faults = new Faults(
    seed,
    () => clock.now(),
    () => backend.reuseAddressesAtOnce(faults.expects("reused-address")),
  );
  const stop = new AbortController();
  const actions = new ActionEngine(store, options.actionClock ?? clock, {
    effects,
    speed: options.speed ?? (options.profile === "fast" ? fastSpeed : 1),
    seed,
    faults,
  });
  const context: Context = {
    store,
    actions,
    billing,
    backend,
    clock,
    faults,
    unassignedType: options.unassignedType ?? "server",
    limits: { ...options.limits, server: options.serverLimit ?? 50 },
  };
  dropReservations(context);
  actions.resume(context);

  const local = {
    faults,
    calls: () => calls.list(),
    clearCalls: () => calls.clear(),
    bill: (project?: number) => billing.bill(project),
    projects: () => tokens.projects(),
    createProject: () => tokens.createProject(),
  };
  const { server, idle } = createListener({
    context,
    router: new Router(routes),
    rateLimit: new RateLimit(options.requestsPerHour ?? 3600, () => clock.now()),
    faults,
    calls,
    local,
    tokens,
    headersTimeoutMs: options.headersTimeoutMs ?? 60_000,
    signal: stop.signal,
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;

  return {
    ...local,
    nextCall: (predicate) =>
      new Promise((resolve) => {
        const end = calls.subscribe((call) => {
          if (!predicate(call)) return;
          end();
          resolve(call);
        });
      }),
    endpoint: `http://${host}:${port}/v1`,
    token: given[0] ?? "",
    tokens: given,
    close: async () => {
      stop.abort();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
      await idle();
      await actions.close();
      store.close();
    },
  };
}

/** @throws Error when a token is none; the store is closed then. */
function openTokens(store: Store, tokens: readonly string[], readOnly: readonly string[]): Tokens {
  try {
    return new Tokens(store, tokens, readOnly);
  } catch (error) {
    store.close();
    throw error;
  }
}

/** An emulator that died between taking a name and making the machine sold nothing: the name is free again. */
function dropReservations({ store }: Context): void {
  for (const server of store.listAll("server")) if (server.reserved) store.delete(server.id);
}

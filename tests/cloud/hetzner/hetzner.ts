import { randomBytes } from "node:crypto";
import type { AddressInfo } from "node:net";
import { type Clock, systemClock } from "../../../pool/clock.ts";
import type { MachineBackend } from "../machines/backend.ts";
import { ActionEngine } from "./actions/engine.ts";
import { type Bill, Billing } from "./billing.ts";
import { type Call, CallLog } from "./calls.ts";
import { fastSpeed } from "./catalogue/durations.ts";
import type { Context } from "./context.ts";
import { Faults } from "./faults.ts";
import { createListener, digest } from "./http/listener.ts";
import { RateLimit } from "./http/rate-limit.ts";
import { Router } from "./http/router.ts";
import { effects, routes } from "./routes.ts";
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
  readonly host?: string;
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** `realistic` (default): actions take as long as at Hetzner; `fast`: a hundredth of that. */
  readonly profile?: "realistic" | "fast";
  /** Divides the duration of every action; stands above `profile`. */
  readonly speed?: number;
  /** Decides the spread of durations. */
  readonly seed?: number;
  /** Of the whole account. New accounts at Hetzner have 5, older ones more; default 50. */
  readonly serverLimit?: number;
  /** For each project; default 3600, as at Hetzner. */
  readonly requestsPerHour?: number;
  readonly clock?: Clock;
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
  bill(): Bill;
  /** Cuts open connections; actions that still run go on at the next start. The backend stays as it is. */
  close(): Promise<void>;
}

/** Starts the emulated Hetzner Cloud API. */
export async function startHetzner(options: HetznerOptions): Promise<Hetzner> {
  const { backend, host = "127.0.0.1" } = options;
  const given = options.clock ?? systemClock;
  // Times are stored as whole milliseconds; a clock that runs at another speed gives fractions.
  const clock: Clock = {
    now: () => Math.floor(given.now()),
    delay: (ms, signal) => given.delay(ms, signal),
  };
  const tokens = options.tokens ?? [randomBytes(32).toString("hex")];
  const wrong = tokens.find((token) => !/^[A-Za-z0-9]{64}$/.test(token));
  if (wrong !== undefined || tokens.length === 0)
    throw new Error("a Hetzner token has 64 letters and digits");

  const store = new Store(options.stateDir);
  const billing = new Billing(store, clock);
  const calls = new CallLog(store);
  const faults = new Faults();
  const stop = new AbortController();
  const actions = new ActionEngine(store, clock, {
    effects,
    speed: options.speed ?? (options.profile === "fast" ? fastSpeed : 1),
    seed: options.seed ?? 1,
  });
  const context: Context = {
    store,
    actions,
    billing,
    backend,
    clock,
    limits: { servers: options.serverLimit ?? 50 },
  };
  dropReservations(context);
  actions.resume(context);

  const local = {
    faults,
    calls: () => calls.list(),
    clearCalls: () => calls.clear(),
    bill: () => billing.bill(),
  };
  const { server, idle } = createListener({
    context,
    router: new Router(routes),
    rateLimit: new RateLimit(options.requestsPerHour ?? 3600, () => clock.now()),
    faults,
    calls,
    local,
    projects: new Map(tokens.map((token, index) => [digest(token), index + 1])),
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
    token: tokens[0] ?? "",
    tokens,
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

/** An emulator that died between taking a name and making the machine sold nothing: the name is free again. */
function dropReservations({ store }: Context): void {
  for (const server of store.listAll("server")) if (server.reserved) store.delete(server.id);
}

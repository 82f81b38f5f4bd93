import type { Store } from "./store/store.ts";

export interface Call {
  /** Milliseconds since the epoch, when the request came in. */
  readonly time: number;
  readonly method: string;
  /** As sent, query included: `/v1/servers?name=x`. */
  readonly path: string;
  /** `/servers/{id}`; null when no route has the path. */
  readonly route: string | null;
  /** What the client got; null when the connection was cut. */
  readonly status: number | null;
  /** Project of the token; null when there was none or it was wrong. */
  readonly project: number | null;
  readonly userAgent: string;
  /** Id of the fault that hit it. */
  readonly fault: number | null;
}

/** Every API call, oldest first, kept over restarts. Bodies and tokens are not kept. */
export class CallLog {
  readonly #store: Store;
  readonly #listeners = new Set<(call: Call) => void>();

  constructor(store: Store) {
    this.#store = store;
  }

  add(call: Call): void {
    this.#store
      .prepare(
        `INSERT INTO call (time, method, path, route, status, project, user_agent, fault)
         VALUES (:time, :method, :path, :route, :status, :project, :userAgent, :fault)`,
      )
      .run(call);
    for (const listener of this.#listeners) listener(call);
  }

  /** Told of each call as it is logged, before its answer goes out. @returns a function that ends it */
  subscribe(listener: (call: Call) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  list(): Call[] {
    return this.#store
      .prepare(
        `SELECT time, method, path, route, status, project, user_agent AS userAgent, fault
         FROM call ORDER BY sequence`,
      )
      .all() as Call[];
  }

  clear(): void {
    this.#store.prepare("DELETE FROM call").run();
  }
}

import type { Account } from "../state/account.ts";
import type { Parameters } from "./parameters.ts";

/** One call of the API that passed authentication. */
export interface Call {
  readonly account: Account;
  readonly path: string;
  /** What stands for `:id` in the route's path, "" in others. */
  readonly id: string;
  readonly parameters: Parameters;
}

/** Carries the call out and gives the object to answer with. @throws ApiError */
export type Handler = (call: Call) => unknown;

export type Method = "GET" | "POST" | "DELETE";
export type Route = readonly [method: Method, path: string, handler: Handler];

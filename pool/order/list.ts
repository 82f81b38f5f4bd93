/** Lists of orders, page by page: the newest first, stable while new ones come. */
import type { OrderCursor, Store } from "../store/store.ts";
import { type Order, type OrderState, orderStates } from "./order.ts";

export interface OrderPage {
  readonly orders: readonly Order[];
  /** Give it back as `cursor` for the next page; null behind the last. */
  readonly next: string | null;
}

export interface OrderQuery {
  readonly states: readonly OrderState[];
  readonly limit: number;
  readonly after: OrderCursor | undefined;
}

export const largestPage = 200;
export const usualPage = 50;

/** What is wrong with a query, by its parameter. */
export class OrderQueryError extends Error {
  override readonly name = "OrderQueryError";
  readonly field: string;
  readonly remedy: string;

  constructor(field: string, remedy: string) {
    super(`${field}: want ${remedy}`);
    this.field = field;
    this.remedy = remedy;
  }
}

/** @param query `limit`, `cursor`, `state` (several with commas). @throws OrderQueryError */
export function readOrderQuery(query: URLSearchParams): OrderQuery {
  const limit = query.get("limit") ?? String(usualPage);
  if (!/^[1-9]\d{0,2}$/.test(limit) || Number(limit) > largestPage) {
    throw new OrderQueryError("limit", `a whole number from 1 to ${largestPage}`);
  }
  const states = (query.get("state") ?? "").split(",").filter((text) => text !== "");
  for (const state of states) {
    if (!(orderStates as readonly string[]).includes(state)) {
      throw new OrderQueryError("state", `some of ${orderStates.join(", ")}, with commas`);
    }
  }
  const cursor = query.get("cursor");
  return {
    limit: Number(limit),
    states: states as OrderState[],
    after: cursor === null ? undefined : readCursor(cursor),
  };
}

export function orderPage(store: Pick<Store, "orders">, { states, limit, after }: OrderQuery): OrderPage {
  const found = store.orders({ states, limit: limit + 1, after });
  const orders = found.slice(0, limit);
  const last = orders.at(-1);
  return { orders, next: last && found.length > limit ? `${last.createdAt}.${last.id}` : null };
}

function readCursor(text: string): OrderCursor {
  const [, createdAt, id] = /^(\d{1,16})\.([\w-]{1,64})$/.exec(text) ?? [];
  if (createdAt === undefined || id === undefined) {
    throw new OrderQueryError("cursor", "the `next` of the page before");
  }
  return { createdAt: Number(createdAt), id };
}

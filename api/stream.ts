/**
 * `GET /v1/orders/:id/events`: the order's history as server-sent events, first what was, then what comes. A reader
 * that was cut off sends Last-Event-ID and misses nothing: the notifier only wakes the stream, every event is read from
 * the store by its number.
 */
import { PassThrough } from "node:stream";
import type { ParameterizedContext } from "koa";
import type { OrderId } from "../pool/machine/machine.ts";
import type { OrderNotifier } from "../pool/order/notifier.ts";
import type { Order, OrderState } from "../pool/order/order.ts";
import type { Store } from "../pool/store/store.ts";
import { Problem } from "./problem.ts";
import { viewEvent } from "./views.ts";

export interface StreamOptions {
  readonly store: Store;
  readonly events: OrderNotifier;
  /** Pause between comments that keep proxies from cutting the connection. Milliseconds. */
  readonly heartbeatMs: number;
  /** Streams at the same time; each costs a socket. */
  readonly maxStreams: number;
}

/** Not `failed`: a person may start it again, and whoever watches should see that. */
const terminal: readonly OrderState[] = ["released", "expired"];

/** Events that are read from the store at a time. */
const pageLength = 20;

export interface OrderStreams {
  open(context: ParameterizedContext, order: Order): void;
  /** Ends all streams, e.g. at shutdown; readers come back with Last-Event-ID. */
  close(): void;
}

export function createOrderStreams({ store, events, heartbeatMs, maxStreams }: StreamOptions): OrderStreams {
  const ends = new Set<() => void>();

  return {
    open(context, order) {
      if (ends.size >= maxStreams) {
        throw new Problem({
          status: 503,
          code: "streams",
          title: "Too many streams are open",
          headers: { "retry-after": "5" },
        });
      }
      const from = lastEventId(context);
      // An EventSource comes back by itself after the end; 204 tells it that there is nothing more to come.
      if (from > 0 && terminal.includes(order.state) && store.orderEvents(order.id, from).length === 0) {
        context.status = 204;
        return;
      }
      const stream = new PassThrough();
      context.status = 200;
      context.set({ "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no" });
      context.body = stream;

      const { res } = context;
      const reader = follow(stream, order.id, from, () => res.destroy());
      ends.add(reader.end);
      stream.once("close", reader.end);
      res.once("close", reader.gone);
    },
    close() {
      for (const end of [...ends]) end();
    },
  };

  /**
   * Writes from event number `seq` on until the order is over or the reader is gone. A reader who takes nothing from one
   * heartbeat to the next but one is cut off by `drop`: else whoever opens streams and reads none keeps all of them.
   * @returns `end` says no more; `gone` is to be called when the connection has closed
   */
  function follow(
    stream: PassThrough,
    order: OrderId,
    seq: number,
    drop: () => void,
  ): { readonly end: () => void; readonly gone: () => void } {
    let last = seq;
    let full = false;
    let ended = false;
    let isLate = false;
    const pump = (): void => {
      // A reader that is slower than the events waits in the store, not in our memory.
      for (let more = !full && !ended; more; ) {
        const events = store.orderEvents(order, last, pageLength);
        for (const event of events) {
          if (full) break;
          last = event.seq;
          const data = JSON.stringify(viewEvent(event));
          full = !stream.write(`id: ${event.seq}\nevent: ${event.type}\ndata: ${data}\n\n`);
        }
        more = !full && events.length === pageLength;
      }
      const now = store.order(order);
      if (!full && (!now || terminal.includes(now.state))) end();
    };
    const drained = (): void => {
      full = false;
      isLate = false;
      if (!ended) pump();
    };
    const heartbeat = setInterval(() => {
      if (!full && !ended) full = !stream.write(": still here\n\n");
      else if (isLate) drop();
      else isLate = true;
    }, heartbeatMs);
    const unsubscribe = events.subscribe(order, pump);
    const end = (): void => {
      if (ended) return;
      ended = true;
      unsubscribe();
      ends.delete(end);
      stream.end();
    };
    const gone = (): void => clearInterval(heartbeat);
    stream.on("drain", drained);
    stream.write("retry: 1000\n\n");
    // After the caller has put `end` where it belongs: the order may be over at once.
    queueMicrotask(pump);
    return { end, gone };
  }
}

function lastEventId(context: ParameterizedContext): number {
  const text = context.get("last-event-id");
  if (text === "") return 0;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Problem({
    status: 400,
    code: "last-event-id",
    title: "Last-Event-ID is no number of an event",
    field: "Last-Event-ID",
    remedy: "the `id` of the last event that was received, or no such header",
  });
}

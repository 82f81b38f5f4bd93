/**
 * The outbox: what is to be told outside, written in the transaction of the change that it tells of, so that nothing is
 * told that did not happen and nothing that happened is forgotten. Operators get their alerts gathered: what comes within
 * a window is one message with a count, whatever happens to how many machines. pool/notify sends them.
 */
import { createHash } from "node:crypto";
import type { Database } from "better-sqlite3";
import { type Clock, dayMs } from "../clock.ts";
import type { OrderEvent } from "../order/order.ts";
import type { StoreContext } from "./context.ts";
import type { AlertEntry, Channel, Message, NoticePolicy } from "./rows.ts";
import type { Store } from "./store.ts";

type OutboxVerbs = Pick<
  Store,
  | "messages"
  | "nextMessage"
  | "beginMessage"
  | "endMessage"
  | "hastenMessages"
  | "retryMessages"
  | "dropMessages"
>;

/** `begun_at`: when it was first tried; from then on its content stays, as its id may be known outside. */
export const outboxTable = `
  CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    channel    TEXT NOT NULL CHECK (channel IN ('operators/callback','operators/mail','product/callback')),
    type       TEXT NOT NULL CHECK (type IN ('alerts','order.state','customer.notice')),
    subject    TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    data       TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting','delivered','given-up')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    begun_at   INTEGER,
    next_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    error      TEXT,
    CHECK ((state = 'waiting') = (ended_at IS NULL))
  ) STRICT;
  CREATE INDEX outbox_waiting ON outbox (channel, next_at, seq) WHERE state = 'waiting';
  CREATE INDEX outbox_begun ON outbox (channel, type, begun_at);
  CREATE INDEX outbox_subject ON outbox (subject, type);
  `;

interface MessageRow extends Omit<Message, "data"> {
  readonly data: string;
}

/** A trouble raises several flags one after another; they are one thing to read. */
const gatherMs = 10_000;
/** Further ones are only counted: nobody reads on, and `clawpool status` has them all. */
const mostEntries = 200;
/** Delivered messages are kept so long to be looked at. */
const keepMs = 7 * dayMs;

const columns = `id, channel, type, subject, created_at AS "createdAt", data, state, attempts, begun_at AS "begunAt", next_at AS "nextAt",
  ended_at AS "endedAt", error`;

/** What the other verbs write into it, inside of their transactions. */
export interface Outbox {
  /** A flag was raised (`over` null), or is over and why. @returns whether anybody is to be told, as the other does */
  alert(kind: string, subject: string, text: string, over: string | null): boolean;
  orderEvent(event: OrderEvent): boolean;
}

/** By the time and the content as well as by a number: numbers come again when an older database is restored. */
function idOf(what: readonly (string | number)[]): string {
  return `msg_${createHash("sha256").update(JSON.stringify(what)).digest("hex").slice(0, 24)}`;
}

export function createOutbox(db: Database, clock: Clock, policy: () => NoticePolicy): Outbox {
  function insert(
    channel: Channel,
    type: Message["type"],
    subject: string,
    data: object,
    dueAt: number,
  ): void {
    const { seq } = db
      .prepare<[], { seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
      .get() ?? { seq: 0 };
    const [now, text] = [clock.now(), JSON.stringify(data)];
    db.prepare(
      `INSERT INTO outbox (id, channel, type, subject, created_at, data, next_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
    ).run(idOf([seq, now, channel, type, text]), channel, type, subject, now, text, dueAt);
  }

  /** When a new message of alerts is due: not sooner than the window behind the one before. */
  function alertsDueAt(channel: Channel): number {
    const row = db
      .prepare<[Channel], { begun: number | null }>(
        "SELECT max(begun_at) AS begun FROM outbox WHERE channel = ? AND type = 'alerts'",
      )
      .get(channel);
    return Math.max(clock.now() + gatherMs, (row?.begun ?? 0) + policy().digestMs);
  }

  function alertOn(channel: Channel, kind: string, subject: string, text: string, over: string | null): void {
    const open = db
      .prepare<[Channel], { id: string; data: string }>(
        "SELECT id, data FROM outbox WHERE channel = ? AND state = 'waiting' AND type = 'alerts' AND begun_at IS NULL",
      )
      .get(channel);
    const now = clock.now();
    const before: { alerts: AlertEntry[]; more: number } = open
      ? JSON.parse(open.data)
      : { alerts: [], more: 0 };
    const known = before.alerts.find((entry) => entry.kind === kind && entry.subject === subject);
    const times = (known?.times ?? 0) + (over === null ? 1 : 0);
    const entry: AlertEntry = { kind, subject, text, over, times, since: known?.since ?? now, at: now };
    const alerts = known
      ? before.alerts.map((other) => (other === known ? entry : other))
      : [...before.alerts, entry].slice(0, mostEntries);
    const more = before.more + (known || before.alerts.length < mostEntries ? 0 : 1);
    if (open)
      db.prepare("UPDATE outbox SET data = ? WHERE id = ?").run(JSON.stringify({ alerts, more }), open.id);
    else insert(channel, "alerts", "operators", { alerts, more }, alertsDueAt(channel));
  }

  /** That an order is suspended is told to its customer when it lasts, and its end only to whom it was told. */
  function suspension({ order, seq, at, data }: OrderEvent): void {
    const { tellCustomerAfterMs } = policy();
    if (tellCustomerAfterMs === null) return;
    const tell = (state: string, dueAt: number) => {
      const notice = { order, about: "suspension", state, since: new Date(at).toISOString() };
      insert("product/callback", "customer.notice", order, notice, dueAt);
    };
    if (data.state === "suspended") {
      tell("suspended", at + tellCustomerAfterMs);
      return;
    }
    const before = db
      .prepare<[string, number], { state: string }>(
        `SELECT json_extract(data, '$.state') AS state FROM order_event
         WHERE order_id = ? AND seq < ? AND type = 'state' ORDER BY seq DESC LIMIT 1`,
      )
      .get(order, seq);
    if (before?.state !== "suspended") return;
    const untold = db
      .prepare(
        `DELETE FROM outbox WHERE subject = ? AND type = 'customer.notice' AND begun_at IS NULL
         AND json_extract(data, '$.about') = 'suspension'`,
      )
      .run(order);
    if (untold.changes === 0 && data.state === "running") tell("running", at);
  }

  return {
    alert(kind, subject, text, over) {
      const told = policy().channels.filter((channel) => channel !== "product/callback");
      for (const channel of told) alertOn(channel, kind, subject, text, over);
      return told.length > 0;
    },
    orderEvent(event) {
      const { order, seq, at, type, data } = event;
      if (type === "step" || !policy().channels.includes("product/callback")) return false;
      if (type === "state") {
        const told = { ...data, order, seq, at: new Date(at).toISOString() };
        insert("product/callback", "order.state", order, told, at);
        suspension(event);
      } else insert("product/callback", "customer.notice", order, { order, about: "health", ...data }, at);
      return true;
    },
  };
}

export function outboxVerbs({ db, clock, history, write }: StoreContext): OutboxVerbs {
  const message = (row: MessageRow): Message => ({ ...row, data: JSON.parse(row.data) });
  const find = (id: string): Message | null => {
    const row = db.prepare<[string], MessageRow>(`SELECT ${columns} FROM outbox WHERE id = ?`).get(id);
    return row ? message(row) : null;
  };

  return {
    messages: ({ states, channel = null } = {}) =>
      db
        .prepare<[string, string | null, string | null], MessageRow>(
          `SELECT ${columns} FROM outbox WHERE state IN (SELECT value FROM json_each(?)) AND (? IS NULL OR channel = ?)
           ORDER BY seq LIMIT 1000`,
        )
        .all(JSON.stringify(states ?? ["waiting", "given-up", "delivered"]), channel, channel)
        .map(message),

    nextMessage(channel) {
      const row = db
        .prepare<[Channel], MessageRow>(
          `SELECT ${columns} FROM outbox WHERE channel = ? AND state = 'waiting' ORDER BY next_at, seq LIMIT 1`,
        )
        .get(channel);
      return row ? message(row) : null;
    },

    beginMessage: (id, nextAt) =>
      write(() => {
        const known = find(id);
        if (known?.state !== "waiting") return null;
        const now = clock.now();
        // Alerts are gathered until now: an older database that is restored may have gathered others under the same id.
        const isGathered = known.type === "alerts" && known.begunAt === null;
        const sent = isGathered ? idOf([id, now, JSON.stringify(known.data)]) : id;
        db.prepare(
          `UPDATE outbox SET id = ?, attempts = attempts + 1, begun_at = coalesce(begun_at, ?), next_at = ? WHERE id = ?`,
        ).run(sent, now, nextAt, id);
        return find(sent);
      }),

    endMessage: (id, outcome) =>
      write(() => {
        const known = find(id);
        if (known?.state !== "waiting") return;
        const { channel, type, subject, attempts } = known;
        const [now, facts] = [clock.now(), { channel, type, about: subject, attempts }];
        if (outcome.state === "waiting") {
          const { error, nextAt } = outcome;
          db.prepare("UPDATE outbox SET error = ?, next_at = ? WHERE id = ?").run(error, nextAt, id);
          history.audit("daemon", "message.failed", id, { why: error, ...facts });
          return;
        }
        const error = outcome.state === "given-up" ? outcome.error : null;
        db.prepare("UPDATE outbox SET state = ?, error = ?, ended_at = ? WHERE id = ?").run(
          outcome.state,
          error,
          now,
          id,
        );
        const why = error ?? "it was taken";
        history.audit("daemon", `message.${outcome.state}`, id, { why, ...facts });
        db.prepare("DELETE FROM outbox WHERE state = 'delivered' AND ended_at < ?").run(now - keepMs);
      }),

    hastenMessages: (channel) =>
      write(() => {
        db.prepare(
          "UPDATE outbox SET next_at = ? WHERE channel = ? AND state = 'waiting' AND attempts > 0 AND next_at > ?",
        ).run(clock.now(), channel, clock.now());
      }),

    retryMessages: (id, { actor, run = null }) =>
      write(() => {
        const again = db
          .prepare<[{ now: number; id: string | null }], { id: string }>(
            `UPDATE outbox SET state = 'waiting', ended_at = NULL, attempts = 0, begun_at = @now, next_at = @now
             WHERE state <> 'delivered' AND attempts > 0 AND (@id IS NULL OR id = @id) RETURNING id`,
          )
          .all({ now: clock.now(), id });
        for (const message of again)
          history.audit(actor, "message.retried", message.id, { why: "a person tries again", run });
        return again.map((message) => message.id);
      }),

    dropMessages: ({ id = null, channel = null }, why, { actor = "daemon", run = null } = {}) =>
      write(() => {
        const dropped = db
          .prepare<(string | null)[], { id: string }>(
            `DELETE FROM outbox WHERE state <> 'delivered' AND (id = ? OR channel = ?) RETURNING id`,
          )
          .all(id, channel);
        for (const message of dropped) history.audit(actor, "message.dropped", message.id, { why, run });
        return dropped.map((message) => message.id);
      }),
  };
}

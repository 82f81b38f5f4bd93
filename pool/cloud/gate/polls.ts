/**
 * Polls of all runs, answered from one batched `GET /actions?id=…&id=…`. terraform asks every 200 ms; Hetzner is
 * asked once for everybody, at most once a second, and first when the action could be done. A failed look is
 * repeated here and seen by nobody: one 503 on a poll would taint the server, and the next apply would delete it.
 */
import { z } from "zod";
import type { Clock } from "../../clock.ts";
import { type Priority, priorities } from "../budget.ts";
import { type ActionShape, actionShape } from "../shapes.ts";
import { createPauses, isPassing, json, type Sent, type Wire } from "../wire.ts";
import { createDurations } from "./durations.ts";
import { errorReply, jsonReply, type Reply } from "./reply.ts";

/** Ids in one request: the largest page, so that the answer never has a second one. */
const batchSize = 50;
/** Finished actions that are remembered; terraform asks for each again within seconds. */
const rememberedActions = 5_000;
/** An action that nobody asked about for so long is not polled any more. */
const interestMs = 10_000;

/** Who asks: whose calls are counted and how urgent they are. */
export interface Asker {
  readonly wire: Wire;
  readonly priority: Priority;
}

export interface Polls {
  /** Learns actions from the answer to a write. */
  ingest(actions: readonly ActionShape[]): void;
  /** Answers `GET /actions?id=…` (or `GET /actions/{id}` when `single`). */
  ask(ids: readonly number[], single: boolean, asker: Asker): Promise<Reply>;
  /** True while an action that we know of runs on the server. */
  busy(serverId: number): boolean;
  /** Answers everybody who still waits with 503. */
  close(): void;
}

interface Entry {
  action: ActionShape | null;
  /** Ours: when the action was ordered or first seen. */
  readonly bornAt: number;
  /** Hetzner's: when the write that ordered it began. */
  readonly orderedAt: number;
  /** When Hetzner last told of it. */
  seenAt: number;
  /** When somebody began to ask, after a time in which nobody did. */
  wantedAt: number;
  askedAt: number;
  lookAt: number;
  asker: Asker | null;
  /** Hetzner has not told of it for a whole deadline: the next one who asks gets an error. */
  lost: boolean;
}

export function createPolls(options: { clock: Clock; minPollMs: number; deadlineMs: number }): Polls {
  const { clock, minPollMs, deadlineMs } = options;
  const entries = new Map<number, Entry>();
  const durations = createDurations();
  let waiting: (() => void)[] = [];
  let running = false;
  let closed = false;
  let polledAt = Number.NEGATIVE_INFINITY;
  let wake = new AbortController();
  let sleepsUntil = 0;

  const isOpen = (entry: Entry) => entry.action === null || entry.action.status === "running";

  function ingest(actions: readonly ActionShape[]): void {
    const now = clock.now();
    const orderedAt = Math.min(...actions.map((action) => Date.parse(action.started)));
    for (const action of actions) {
      const known = entries.get(action.id);
      if (!known) {
        const lookAt = now + durations.nextLook(action.command, 0, minPollMs);
        entries.set(action.id, { ...born(now), action, orderedAt, lookAt });
      } else update(known, action, now);
    }
    for (const [id, entry] of entries) {
      if (entries.size <= rememberedActions) break;
      if (!isOpen(entry)) entries.delete(id);
    }
  }

  const born = (now: number): Entry => ({
    action: null,
    bornAt: now,
    orderedAt: now,
    seenAt: now,
    wantedAt: now,
    askedAt: Number.NEGATIVE_INFINITY,
    lookAt: now,
    asker: null,
    lost: false,
  });

  function update(entry: Entry, action: ActionShape, now: number): void {
    const wasRunning = entry.action?.status === "running";
    if (wasRunning && action.status === "success") {
      const finished = action.finished === null ? Number.NaN : Date.parse(action.finished);
      durations.learn(action.command, {
        stated: Number.isFinite(finished - entry.orderedAt) ? Math.max(0, finished - entry.orderedAt) : null,
        notYet: entry.seenAt - entry.bornAt,
        done: now - entry.bornAt,
      });
    }
    entry.action = action;
    entry.seenAt = now;
    entry.lookAt = entry.bornAt + durations.nextLook(action.command, now - entry.bornAt, minPollMs);
  }

  /** One loop for all; it ends when nobody waits for anything. */
  async function run(): Promise<void> {
    let pauses = createPauses(clock, () => Number.POSITIVE_INFINITY);
    try {
      while (!closed) {
        const now = clock.now();
        const asked = [...entries.values()].filter(
          (entry) => isOpen(entry) && now - entry.askedAt <= interestMs,
        );
        if (asked.length === 0) return;
        const at = Math.max(Math.min(...asked.map((entry) => entry.lookAt)), polledAt + minPollMs);
        if (at > now) {
          sleepsUntil = at;
          await clock.delay(at - now, wake.signal);
          if (wake.signal.aborted) wake = new AbortController();
          continue;
        }
        polledAt = now;
        const sent = await look(asked);
        const answers = take(sent);
        if (answers) pauses = createPauses(clock, () => Number.POSITIVE_INFINITY);
        expire();
        const told = waiting;
        waiting = [];
        for (const resolve of told) resolve();
        if (!answers) await pauses.pause(sent.kind === "answer" ? (sent.retryAfterMs ?? 0) : 0);
      }
    } finally {
      running = false;
    }
  }

  /** Due and asked-for first, then whatever else runs: it costs nothing to ask in the same call. */
  async function look(asked: readonly Entry[]): Promise<Sent> {
    const most = asked.reduce((a, b) => (urgency(b) < urgency(a) ? b : a), asked[0] as Entry);
    const wanted = new Set(asked);
    const open = [...entries].filter(([, entry]) => isOpen(entry));
    open.sort(([, a], [, b]) => Number(wanted.has(b)) - Number(wanted.has(a)) || a.lookAt - b.lookAt);
    const ids = open.slice(0, batchSize).map(([id]) => id);
    const query = [...ids.map((id) => `id=${id}`), `per_page=${batchSize}`].join("&");
    const asker = most.asker;
    if (!asker) return { kind: "unsent", reason: "nobody asks" };
    const until = clock.now() + deadlineMs;
    const sent = await asker.wire.send(
      { method: "GET", path: `/actions?${query}`, priority: asker.priority },
      until,
    );
    if (sent.kind === "answer" && sent.status === 200) settleAbsent(ids, sent);
    return sent;
  }

  const urgency = (entry: Entry) => priorities.indexOf(entry.asker?.priority ?? "refill");
  const listed = z.object({ actions: z.array(actionShape) });

  /** An id that Hetzner does not list: never seen, it is not there; seen before, we wait for it to come back. */
  function settleAbsent(ids: readonly number[], sent: Extract<Sent, { kind: "answer" }>): void {
    const parsed = listed.safeParse(json(sent));
    if (!parsed.success) return;
    const present = new Set(parsed.data.actions.map((action) => action.id));
    for (const id of ids) {
      const entry = entries.get(id);
      if (!entry || present.has(id)) continue;
      if (entry.action === null) entries.delete(id);
      else entry.lookAt = clock.now() + minPollMs;
    }
  }

  /** False when the look told nothing. */
  function take(sent: Sent): boolean {
    if (isPassing(sent) || sent.kind !== "answer") return false;
    const parsed = listed.safeParse(json(sent));
    if (!parsed.success) return false;
    ingest(parsed.data.actions);
    return true;
  }

  /** What Hetzner has not told of for a whole deadline is not answered from memory for ever. */
  function expire(): void {
    const now = clock.now();
    for (const entry of entries.values()) {
      if (isOpen(entry) && now - Math.max(entry.seenAt, entry.wantedAt) >= deadlineMs) entry.lost = true;
    }
  }

  function want(id: number, asker: Asker): void {
    const now = clock.now();
    const entry = entries.get(id) ?? born(now);
    entries.set(id, entry);
    if (now - entry.askedAt > interestMs) entry.wantedAt = now;
    entry.askedAt = now;
    entry.asker = asker;
    if (!isOpen(entry)) return;
    if (!running) {
      running = true;
      // After the caller's other ids are in, so that one look asks for all of them.
      queueMicrotask(() => void run());
    } else if (entry.lookAt < sleepsUntil) wake.abort();
  }

  function isOverdue(id: number): boolean {
    const entry = entries.get(id);
    return entry !== undefined && isOpen(entry) && !entry.lost && entry.lookAt <= clock.now();
  }

  return {
    ingest,
    async ask(ids, single, asker) {
      for (const id of ids) want(id, asker);
      // A look is due or under way: its result is worth waiting for, and the deadline bounds the wait.
      while (!closed && ids.some(isOverdue)) {
        await new Promise<void>((resolve) => waiting.push(resolve));
        for (const id of ids) if (entries.has(id)) want(id, asker);
      }
      if (closed) return errorReply(503, "unavailable", "the gate is closed");
      if (ids.some((id) => entries.get(id)?.lost)) {
        for (const id of ids) entries.delete(id);
        return errorReply(503, "unavailable", `no word of action ${ids.join(", ")} for ${deadlineMs} ms`);
      }
      const known = ids.flatMap((id) => entries.get(id)?.action ?? []);
      return answer(ids, known, single);
    },
    busy: (serverId) =>
      [...entries.values()].some(
        ({ action }) =>
          action?.status === "running" &&
          action.resources.some((resource) => resource.type === "server" && resource.id === serverId),
      ),
    close() {
      closed = true;
      wake.abort();
      const told = waiting;
      waiting = [];
      for (const resolve of told) resolve();
    },
  };
}

function answer(ids: readonly number[], known: readonly ActionShape[], single: boolean): Reply {
  if (single) {
    const [action] = known;
    return action ? jsonReply(200, { action }) : errorReply(404, "not_found", `action ${ids[0]} not found`);
  }
  const actions = [...known].sort((a, b) => a.status.localeCompare(b.status) || a.id - b.id);
  return jsonReply(200, {
    actions,
    meta: {
      pagination: {
        page: 1,
        per_page: batchSize,
        previous_page: null,
        next_page: null,
        last_page: 1,
        total_entries: actions.length,
      },
    },
  });
}

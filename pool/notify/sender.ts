/**
 * Sends what is in the outbox, at least once each, beside everything else: a channel that is slow, refuses or is gone holds
 * up neither the others nor any machine. Each channel has a worker of its own that sends one message at a time.
 *
 * A message that failed is due again after 5 s, 30 s, 2, 10 min and then each 30 min (± 10 %), for three days; then it is
 * given up, and a person is told. While a channel fails, one message is tried at a time with pauses of up to five minutes;
 * as soon as it takes one, all that failed are due.
 */
import type { Logger } from "pino";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import { type Random, spread } from "../random.ts";
import { type Channel, channels } from "../store/rows.ts";
import type { Message, Store } from "../store/store.ts";
import { type Courier, channelsOf } from "./courier.ts";
import { render, testEnvelope } from "./render.ts";

const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;
const pausesMs = [5 * second, 30 * second, 2 * minute, 10 * minute];
/** Behind those: how long an outage may be over before somebody notices. */
const longestPauseMs = 30 * minute;
/** From the first try on; as long as Stripe repeats a webhook. */
const giveUpMs = 72 * hour;
/** Standard Webhooks gives receivers 15 to 30 s. */
const deadlineMs = 30_000;
/** Behind the first failure of a channel; doubles with each in a row. */
const firstChannelPauseMs = 5_000;
const longestChannelPauseMs = 5 * minute;
/** Whoever asks for longer pauses is asked again all the same. */
const longestRetryAfterMs = hour;
/** So many failures in a row are told: fewer are a restart of the other side. */
const tellFrom = 3;
/** Without anything to send; whatever is written wakes the worker. */
const idleMs = hour;

/** The flag's kind; its subject is the channel. */
const undelivered = "undelivered";

export interface TestResult {
  readonly channel: Channel;
  readonly ok: boolean;
  readonly detail: string;
}

export interface Sender {
  /** Something was written, or the configuration is another. */
  poke(): void;
  start(): void;
  /** Ends what is under way: it is sent again by the next daemon. */
  stop(): Promise<void>;
  /** Sends a test to each channel and waits for what becomes of it. */
  test(actor: string): Promise<TestResult[]>;
  /** @returns ids of the messages that are tried again; null: all that failed */
  retry(id: string | null, actor: string): string[];
  /** @returns ids */
  drop(id: string, actor: string): string[];
}

export interface SenderOptions {
  readonly store: Store;
  readonly courier: Courier;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: () => Config;
  readonly log: Logger;
}

export function createSender({ store, courier, clock, random, config, log }: SenderOptions): Sender {
  const stopping = new AbortController();
  const wakes = new Map<Channel, AbortController>();
  /** Failures in a row, and until when (epoch ms) nothing is tried. */
  const trouble = new Map<Channel, { readonly run: number; readonly until: number }>();
  let workers: Promise<unknown> = Promise.resolve();

  const jittered = (ms: number, of: string): number => Math.round(ms * (0.9 + 0.2 * spread(of)));
  const isConfigured = (channel: Channel): boolean => channelsOf(config().notify).includes(channel);

  async function deliver(
    channel: Channel,
    envelope: ReturnType<typeof testEnvelope>,
  ): Promise<BorderError | null> {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, stopping.signal]);
    try {
      // A courier that does not even obey its signal holds up nothing longer than this.
      const late = clock.delay(deadlineMs, signal).then(() => {
        throw new Error(stopping.signal.aborted ? "the daemon stops" : "no answer in time");
      });
      late.catch(() => {});
      await Promise.race([courier.send(channel, envelope, signal), late]);
      return null;
    } catch (error) {
      if (error instanceof BorderError) return error;
      const border = channel === "operators/mail" ? "mail" : "callback";
      const text = error instanceof Error ? error.message : String(error);
      return new BorderError(text, { border, kind: "transient", cause: error });
    } finally {
      ended.abort();
    }
  }

  async function send({ id, channel, attempts: before }: Message): Promise<void> {
    const message = store.beginMessage(
      id,
      clock.now() + jittered(pausesMs[before] ?? longestPauseMs, `${id} ${before}`),
    );
    if (!message) return;
    const failure = await deliver(channel, render(message, config().instance));
    if (failure === null) {
      store.endMessage(message.id, { state: "delivered" });
      const { run = 0 } = trouble.get(channel) ?? {};
      trouble.delete(channel);
      if (run >= tellFrom) store.hastenMessages(channel);
    } else if (!stopping.signal.aborted) failed(message, failure);
    if (!stopping.signal.aborted) tell(channel, failure);
  }

  function failed({ id, channel, attempts, begunAt, nextAt }: Message, failure: BorderError): void {
    const { kind, message: error, retryAfterMs = 0 } = failure;
    log.warn({ message: id, channel, attempts, err: failure }, "a message was not delivered");
    const askedMs = Math.min(retryAfterMs, longestRetryAfterMs);
    const run = (trouble.get(channel)?.run ?? 0) + 1;
    const pauseMs = Math.min(firstChannelPauseMs * 2 ** (run - 1), longestChannelPauseMs);
    // What is wrong with one message alone says nothing of the channel.
    if (kind !== "permanent")
      trouble.set(channel, {
        run,
        until: clock.now() + Math.max(jittered(pauseMs, `${channel} ${id} ${attempts}`), askedMs),
      });
    const isOld = clock.now() - (begunAt ?? clock.now()) >= giveUpMs;
    if (kind === "permanent" || isOld) store.endMessage(id, { state: "given-up", error });
    else store.endMessage(id, { state: "waiting", error, nextAt: Math.max(nextAt, clock.now() + askedMs) });
  }

  /** The texts say nothing that changes from try to try: each change would be told anew. */
  function tell(channel: Channel, failure: BorderError | null): void {
    const lost = store.messages({ states: ["given-up"], channel }).length > 0;
    const fails = failure?.kind === "auth" || (trouble.get(channel)?.run ?? 0) >= tellFrom;
    if (lost) {
      const text = `messages to ${channel} were given up: \`clawpool notify\` lists them and why, \`clawpool notify retry ID\` tries again`;
      store.flag(undelivered, channel, text);
    } else if (fails) {
      const text = `messages to ${channel} are not taken; they are kept and tried again: \`clawpool notify\` says why`;
      store.flag(undelivered, channel, text);
    } else if (failure === null) store.clearFlag(undelivered, channel, "messages are taken again");
  }

  /** @returns how long there is nothing to do, in milliseconds */
  async function step(channel: Channel): Promise<number> {
    const next = store.nextMessage(channel);
    if (!isConfigured(channel)) {
      const why = `${channel} is not configured any more`;
      const isFlagged = store
        .flags()
        .some(({ kind, subject }) => kind === undelivered && subject === channel);
      if (next || isFlagged) store.dropMessages({ channel }, why);
      if (isFlagged) store.clearFlag(undelivered, channel, why);
      return idleMs;
    }
    const now = clock.now();
    const dueAt = Math.max(next?.nextAt ?? now + idleMs, trouble.get(channel)?.until ?? 0);
    if (!next || dueAt > now) return Math.min(dueAt - now, idleMs);
    await send(next);
    return 0;
  }

  async function work(channel: Channel): Promise<void> {
    while (!stopping.signal.aborted) {
      const wake = new AbortController();
      wakes.set(channel, wake);
      let pauseMs = minute;
      try {
        pauseMs = await step(channel);
      } catch (err) {
        if (!store.leads()) return;
        log.error({ channel, err }, "the outbox could not be worked on");
      }
      if (pauseMs > 0) await clock.delay(pauseMs, AbortSignal.any([wake.signal, stopping.signal]));
    }
  }

  const poke = (): void => {
    for (const wake of wakes.values()) wake.abort();
  };

  return {
    poke,
    start() {
      workers = Promise.all(channels.map(work));
    },
    async stop() {
      stopping.abort();
      await workers;
    },
    async test(actor) {
      const { notify, instance } = config();
      return Promise.all(
        channelsOf(notify).map(async (channel): Promise<TestResult> => {
          const id = `msg_test_${random.bytes(9).toString("hex")}`;
          const failure = await deliver(channel, testEnvelope(id, instance, clock.now()));
          const detail = failure === null ? "taken" : `${failure.kind}: ${failure.message}`;
          store.audit(actor, "message.test", id, {
            why: "a person tries whether messages arrive",
            channel,
            detail,
          });
          return { channel, ok: failure === null, detail };
        }),
      );
    },
    retry(id, actor) {
      const ids = store.retryMessages(id, { actor });
      trouble.clear();
      poke();
      return ids;
    },
    drop(id, actor) {
      const channel = store.messages().find((message) => message.id === id)?.channel;
      const ids = store.dropMessages({ id }, "a person wants it told to nobody", { actor });
      if (channel) tell(channel, null);
      return ids;
    },
  };
}

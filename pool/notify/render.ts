/** A message in words and as JSON: the same for the same row, so that a repeated one is the same. */
import { scrub } from "../observe/log.ts";
import type { AlertEntry, Message } from "../store/rows.ts";
import type { Envelope } from "./courier.ts";

/** What the customer may be shown. */
const notices: Readonly<Record<string, (since: string) => string>> = {
  unreachable: (since) =>
    `Your agent cannot be reached since ${since}. We know of it and are looking after it.`,
  degraded: (since) => `Your agent does not work as it should since ${since}. We are repairing it.`,
  healthy: () => "Your agent works again.",
  suspended: (since) => `Your agent is switched off since ${since}. Nothing on it is lost.`,
  running: () => "Your agent is switched on again.",
};

const iso = (at: number): string => new Date(at).toISOString();

/** The second line of defence behind texts that hold no secret: the shapes of those that we know. */
export function render(message: Message, instance: string): Envelope {
  const { id, type, createdAt, data } = message;
  const [subject, text, payload] =
    type === "alerts" ? alerts(instance, data as unknown as Digest) : ofOrder(instance, message);
  const body = { type, timestamp: iso(createdAt), data: { instance, ...payload } };
  return { id, subject: line(scrub(subject)), text: scrub(text), json: scrub(JSON.stringify(body)) };
}

/** What `clawpool notify test` sends. */
export function testEnvelope(id: string, instance: string, now: number): Envelope {
  const text = `This is a test: messages of clawpool ${instance} arrive here.`;
  const body = { type: "test", timestamp: iso(now), data: { instance, text } };
  return { id, subject: `[clawpool ${instance}] test`, text, json: JSON.stringify(body) };
}

interface Digest {
  readonly alerts: readonly AlertEntry[];
  readonly more: number;
}

function alerts(instance: string, { alerts: entries, more }: Digest): [string, string, object] {
  const raised = entries.filter(({ over }) => over === null);
  const over = entries.filter((entry) => entry.over !== null);
  const [first] = raised.length > 0 ? raised : over;
  const others = entries.length + more - 1;
  const what = `${raised.length > 0 ? "" : "over: "}${first?.kind} ${first?.subject}`;
  const subject = `[clawpool ${instance}] ${what}${others > 0 ? ` and ${others} more` : ""}`;
  const paragraph = (entry: AlertEntry) => {
    const times = entry.times > 1 ? `, ${entry.times} times` : "";
    const end = entry.over === null ? "" : `\n  over since ${iso(entry.at)}: ${entry.over}`;
    return `* ${entry.kind} ${entry.subject} (${iso(entry.since)}${times})\n  ${entry.text}${end}`;
  };
  const text = [
    ...raised.map(paragraph),
    ...over.map(paragraph),
    ...(more > 0 ? [`and ${more} more; \`clawpool status\` has all of them`] : []),
    "`clawpool status` says what is so now.",
  ].join("\n\n");
  const shown = entries.map(({ kind, subject: about, text: said, over: why, times, since, at }) => ({
    kind,
    subject: about,
    state: why === null ? "raised" : "over",
    text: said,
    over: why,
    times,
    since: iso(since),
    at: iso(at),
  }));
  return [subject, text, { alerts: shown, more }];
}

function ofOrder(instance: string, { type, subject: order, data }: Message): [string, string, object] {
  const subject = `[clawpool ${instance}] ${type} ${order}: ${data.state}`;
  if (type === "order.state") return [subject, `${order} is ${data.state}`, data];
  const text = notices[String(data.state)]?.(String(data.since)) ?? `${order}: ${data.state}`;
  return [subject, text, { ...data, text }];
}

/** For a header of a mail. */
const line = (text: string): string => text.replace(/\s+/g, " ").slice(0, 200);

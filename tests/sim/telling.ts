/** Operators and a web app that are told, and what they must have been told in the end. */
import { Secret } from "../../pool/secrets/secret.ts";
import type { Channel } from "../../pool/store/store.ts";
import type { Installation } from "./daemon.ts";
import type { Story } from "./story.ts";

const secrets = [new Secret(`whsec_${Buffer.alloc(32, 1).toString("base64")}`)];

export function configureTelling(installation: Installation): void {
  const { config } = installation;
  const callback = { url: "https://receiver.example/", secrets };
  installation.config = {
    ...config,
    notify: {
      ...config.notify,
      operators: { callback, mail: { to: ["ops@example.com"] } },
      product: { callback },
    },
  };
}

interface Body {
  readonly type: string;
  readonly data: {
    readonly alerts?: readonly { kind: string; subject: string; state: string; text: string; at: string }[];
    readonly order?: string;
    readonly seq?: number;
    readonly state?: string;
  };
}

/**
 * I8: whatever was flagged, and that it is over, reached the operators by both ways; each state of each
 * order reached the web app. One id is one text.
 */
export function judgeTelling({ store, world, installation }: Story): void {
  const { operators } = installation.config.notify;
  if (!operators.callback) return;
  const bodies = new Map<string, string>();
  for (const { id, json } of world.told) {
    if ((bodies.get(id) ?? json) !== json) world.violate("I8", `message ${id} came with two texts`);
    bodies.set(id, json);
  }
  const toldBy = (channel: Channel): Body[] =>
    world.told.filter((one) => one.channel === channel).map(({ json }) => JSON.parse(json) as Body);

  const log = store.auditRows({ limit: 1_000_000 }).filter(({ action }) => action.startsWith("flag."));
  const flagged = new Set(log.map(({ action, subject }) => `${action.split(".")[1]} ${subject}`));
  const now = new Map(store.flags().map(({ kind, subject, text }) => [`${kind} ${subject}`, text]));
  for (const channel of ["operators/callback", "operators/mail"] as const) {
    // A message that was tried again may come behind a newer one: the times say so.
    const last = new Map<string, { state: string; text: string; at: string }>();
    for (const alert of toldBy(channel).flatMap(({ data }) => data.alerts ?? [])) {
      const flag = `${alert.kind} ${alert.subject}`;
      if (alert.at >= (last.get(flag)?.at ?? "")) last.set(flag, alert);
    }
    for (const flag of flagged) {
      const text = now.get(flag);
      const told = last.get(flag);
      if (!told) world.violate("I8", `${channel} was never told of ${flag}`);
      else if (told.state !== (text === undefined ? "over" : "raised"))
        world.violate("I8", `${channel} was told last that ${flag} is ${told.state}`);
      else if (text !== undefined && told.text !== text)
        world.violate("I8", `${channel} was told last of ${flag}: ${told.text}`);
    }
  }

  const states = new Set(
    toldBy("product/callback").map(({ data }) => `${data.order} ${data.seq} ${data.state}`),
  );
  for (const { id } of store.orders()) {
    for (const { type, seq, data } of store.orderEvents(id, 0)) {
      const state = `${id} ${seq} ${data.state}`;
      if (type === "state" && !states.has(state))
        world.violate("I8", `the web app was never told of ${state}`);
    }
  }
}

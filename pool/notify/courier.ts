/** The border to those who are told: signed HTTP callbacks, and mail. It knows neither machines nor orders. */
import type { Clock } from "../clock.ts";
import type { NotifyConfig } from "../config/config.ts";
import { BorderError } from "../errors.ts";
import type { Channel, NoticePolicy } from "../store/rows.ts";
import { postCallback } from "./callback.ts";
import { sendMail } from "./mail.ts";

/** A message as it leaves: the same bytes at each try, but for the time that is signed. */
export interface Envelope {
  /** What receivers know it again by. */
  readonly id: string;
  /** One line. */
  readonly subject: string;
  readonly text: string;
  /** The body of a callback. */
  readonly json: string;
}

export interface Courier {
  /**
   * Resolves when the other side has taken it. After a failure nobody knows: it may have.
   * @param signal ends the try
   * @throws BorderError (callback, mail)
   */
  send(channel: Channel, envelope: Envelope, signal: AbortSignal): Promise<void>;
}

/** Those that are configured. */
export function channelsOf({ operators, product }: NotifyConfig): Channel[] {
  return [
    ...(operators.callback ? ["operators/callback" as const] : []),
    ...(operators.mail ? ["operators/mail" as const] : []),
    ...(product.callback ? ["product/callback" as const] : []),
  ];
}

/** What the store writes messages by. */
export const noticePolicy = (config: {
  readonly notify: NotifyConfig;
  readonly serving: { readonly tellCustomerAfterMs: number | null };
}): NoticePolicy => ({
  channels: channelsOf(config.notify),
  digestMs: config.notify.digestMs,
  tellCustomerAfterMs: config.serving.tellCustomerAfterMs,
});

/** @param notify asked for anew each time, so that a reloaded configuration counts at once */
export function createCourier(notify: () => NotifyConfig, clock: Clock): Courier {
  return {
    async send(channel, envelope, signal) {
      const { operators, product, smtp } = notify();
      if (channel === "operators/mail") {
        if (!operators.mail || !smtp) throw unknown(channel);
        return sendMail(smtp, operators.mail.to, envelope, signal);
      }
      const { callback } = channel === "operators/callback" ? operators : product;
      if (!callback) throw unknown(channel);
      return postCallback(callback, envelope, clock.now(), signal);
    },
  };
}

const unknown = (channel: Channel): BorderError =>
  new BorderError(`${channel} is not configured`, {
    border: channel === "operators/mail" ? "mail" : "callback",
    kind: "permanent",
    code: "not_configured",
  });

/** What goes wrong on purpose between a sender of mail and the sink. */
import { z } from "zod";
import { FaultList, faultFields } from "../fault-list.ts";

const effect = z.discriminatedUnion("kind", [
  /** 4xx: try again later; 5xx: never. With an enhanced status code in the text where it has one. */
  z.object({
    kind: z.literal("refuse"),
    code: z.int().min(400).max(599),
    text: z.string().default("refused"),
  }),
  /** 451 until this many milliseconds after the first try of the same sender and recipient. Recipients only. */
  z.object({ kind: z.literal("greylist"), ms: z.number().min(0) }),
  /** Milliseconds on the sink's clock, then it goes on. */
  z.object({ kind: z.literal("delay"), ms: z.number().min(0) }),
  /** The connection ends; with `after`, at the end of a mail, it was taken all the same. */
  z.object({ kind: z.literal("drop"), when: z.enum(["before", "after"]).default("before") }),
]);

export const mailFaultSchema = z.strictObject({
  /** Where in the conversation: the greeting, MAIL FROM, RCPT TO, or the end of the mail itself. */
  at: z.enum(["connect", "sender", "recipient", "data"]),
  /** Address of the recipient (any of them at `data`), or of the sender at `sender`. */
  address: z.string().optional(),
  ...faultFields,
  effect,
});

export type MailFaultInput = z.input<typeof mailFaultSchema>;
type MailFault = z.output<typeof mailFaultSchema>;
export type MailEffect = z.output<typeof effect>;

export class MailFaults extends FaultList<MailFault, { readonly what: string }> {
  /** @returns the id, for `remove`. @throws ZodError */
  add(input: MailFaultInput): number {
    return this.put(mailFaultSchema.parse(input));
  }

  /** What befalls this step of the conversation, in order. */
  *on(at: MailFault["at"], addresses: readonly string[]): Generator<MailEffect> {
    const struck = this.strike(
      { what: `${at} ${addresses.join(" ")}`.trim() },
      (order): order is MailFault =>
        order.at === at &&
        (order.address === undefined || addresses.some((address) => address === order.address)),
    );
    for (const { order } of struck) yield order.effect;
  }
}

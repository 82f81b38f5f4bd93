/** A person's word about an order, refused or done, as HTTP answers. */
import { z } from "zod";
import { BorderError } from "../pool/errors.ts";
import { HoldRefusedError, holdActions } from "../pool/order/hold.ts";
import { Problem } from "./problem.ts";

export const holdShape = z.strictObject({
  action: z.enum(holdActions),
  why: z.string().trim().min(1).max(500),
  anyway: z.boolean().default(false),
});

/** @throws Problem */
export async function answerHold<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof HoldRefusedError) {
      throw new Problem({ status: 409, code: "held", title: "Not with this order", detail: error.message });
    }
    if (!(error instanceof BorderError)) throw error;
    const title = "Stripe could not be asked; nothing was changed";
    throw new Problem({ status: 502, code: "stripe", title, detail: `${title}: ${error.message}` });
  }
}

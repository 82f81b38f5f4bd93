/** Those who are told, and the way to them: refusals, silence, lost answers, a day without anybody. */
import { BorderError } from "../../../pool/errors.ts";
import type { Courier } from "../../../pool/notify/courier.ts";
import { Chance } from "../chance.ts";
import type { CourierFault, World } from "../world.ts";

/** Its chance is its own: whether anybody is told changes no story. */
export function simulatedCourier(world: World): Courier {
  const chance = new Chance(world.seed ^ 0x7e11);
  const strikes = (probability: number) => !world.calm && chance.happens(probability);
  const drawn = (): CourierFault | undefined => {
    if (strikes(0.05)) return "silent";
    if (strikes(0.15)) return "refused";
    if (strikes(0.03)) return "credentials";
    return strikes(0.1) ? "lost answer" : undefined;
  };
  return {
    async send(channel, { id, subject, text, json }, signal) {
      const border = channel === "operators/mail" ? "mail" : "callback";
      const fails = (what: string, kind: "transient" | "auth" = "transient") =>
        new BorderError(what, { border, kind });
      await world.clock.delay(chance.between(50, 500));
      if (world.isUnreachable) throw fails("the connection was refused");
      const fault = world.courierFaults.shift() ?? drawn();
      if (fault === "silent") {
        await world.clock.delay(3_600_000, signal);
        throw fails("no answer in time");
      }
      if (fault === "refused") throw fails("answered 503");
      if (fault === "credentials") throw fails("answered 401", "auth");
      world.told.push({ channel, id, json });
      for (const secret of world.secrets) {
        if ([subject, text, json].some((part) => part.includes(secret)))
          world.violate("I6", `message ${id} to ${channel} tells the secret ${secret}`);
      }
      if (fault === "lost answer") throw fails("the connection was cut");
    },
  };
}

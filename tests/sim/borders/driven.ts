/** A simulated border for somebody who does not live on its clock: each call moves the clock until it is done. */
import type { VirtualClock } from "../../virtual-clock.ts";

export function driven<T extends object>(clock: VirtualClock, border: T): T {
  return new Proxy(border, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const result: unknown = Reflect.apply(value, target, args);
        return result instanceof Promise ? clock.until(result) : result;
      };
    },
  });
}

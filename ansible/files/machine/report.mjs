/** What the program says, and how it fails: one JSON line a fact, reasons without values. */

export class Failure extends Error {
  constructor(step, reason, retryable) {
    super(reason);
    this.step = step;
    this.retryable = retryable;
  }
}

export const say = (reply) => process.stdout.write(`${JSON.stringify(reply)}\n`);
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Settles like `promise`, or rejects with a retryable Failure of `step` after `ms`. */
export function within(ms, step, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Failure(step, `${what} took more than ${ms} ms`, true)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The distributions that sizing rests on, in the forms that can be walked count by count. */

/**
 * Share of claims that find nothing ready when `machines` are kept and `load` (claims per lead time) are under way:
 * the Erlang loss formula, by its recursion (Smith, Management Science 23(5), 1977, for the pool that sends those it
 * misses elsewhere).
 */
export function erlangB(machines: number, load: number): number {
  let blocked = 1;
  for (let k = 1; k <= machines; k++) blocked = (load * blocked) / (k + load * blocked);
  return blocked;
}

/** Chances of 0, 1, 2 … under a negative binomial of this `size` and `mean`; both are above 0. */
export function* negativeBinomial(size: number, mean: number): Generator<number, never> {
  const share = mean / (size + mean);
  let chance = Math.exp(-size * Math.log1p(mean / size));
  for (let k = 0; ; k++) {
    yield chance;
    chance *= (share * (size + k)) / (k + 1);
  }
}

/** Chances of 0, 1, 2 … under a Poisson distribution of this mean. */
export function* poisson(mean: number): Generator<number, never> {
  let chance = Math.exp(-mean);
  for (let k = 0; ; k++) {
    yield chance;
    chance *= mean / (k + 1);
  }
}

/** The smallest count whose cumulated chance reaches `share`; `most` bounds it. */
export function quantile(chances: Iterator<number>, share: number, most = 10_000): number {
  let sum = 0;
  for (let k = 0; k < most; k++) {
    sum += chances.next().value ?? 0;
    if (sum >= share) return k;
  }
  return most;
}

/**
 * The true miss share is below this with the given confidence, when `misses` of `claims` were seen (Clopper and
 * Pearson 1934). Without a miss that is about 3 / claims. By bisection on the binomial tail: 50 halvings are exact
 * to the last digit that anybody prints.
 */
export function missShareBound(misses: number, claims: number, confidence = 0.95): number {
  if (claims === 0 || misses >= claims) return 1;
  let [low, high] = [misses / claims, 1];
  for (let halving = 0; halving < 50; halving++) {
    const middle = (low + high) / 2;
    if (binomialCdf(misses, claims, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return high;
}

/** As many claims without a miss prove a hit share (0–1) with the given confidence. */
export const claimsNeeded = (hitShare: number, confidence = 0.95): number =>
  Math.ceil(Math.log(1 - confidence) / Math.log(hitShare));

function binomialCdf(count: number, n: number, p: number): number {
  if (p >= 1) return count >= n ? 1 : 0;
  // In logarithms: (1 - p)^n is below the smallest number soon.
  let log = n * Math.log1p(-p);
  const odds = Math.log(p) - Math.log1p(-p);
  let sum = Math.exp(log);
  for (let k = 1; k <= count; k++) {
    log += Math.log((n - k + 1) / k) + odds;
    sum += Math.exp(log);
  }
  return sum;
}

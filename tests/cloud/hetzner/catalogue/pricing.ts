/** Amounts are EUR net unless said otherwise. */

/** German VAT, as `GET /pricing` shows it to a German account. */
export const vatPercent = 19;

/** A primary IPv4 costs 0.50 EUR a month, assigned or not; IPv6 is free. */
export const ipv4Monthly = 0.5;

/** Floating IPs by type, assigned or not. */
export const floatingIpMonthly = { ipv4: 3, ipv6: 1 } as const;

/** For each GB, of what a snapshot holds and of what a volume could hold. */
export const snapshotGbMonthly = 0.0143;
export const volumeGbMonthly = 0.0572;

/** Backups of a server cost this part of its own price, however many there are. */
export const backupPercent = 20;

/** Hourly prices are monthly ones / 624, rounded to four digits (5.49 -> 0.0088, 19.49 -> 0.0312). */
export const hourlyNet = (monthly: number) => Math.round((monthly / 624) * 10_000) / 10_000;

/** What `Billing` wants to know. */
export interface Price {
  readonly hourly: number;
  readonly monthly: number;
}

export const priceOf = (monthly: number): Price => ({ hourly: hourlyNet(monthly), monthly });

/** Not rounded: for small volumes four digits would be nothing. */
export const priceOfGb = (gb: number, monthlyPerGb: number): Price => ({
  hourly: (gb * monthlyPerGb) / 624,
  monthly: gb * monthlyPerGb,
});

export const gross = (net: number) => net * (1 + vatPercent / 100);

/** The API writes amounts as strings with ten digits. */
export const money = (amount: number) => amount.toFixed(10);

/** A price as the API shows it. */
export const netAndGross = (net: number) => ({ net: money(net), gross: money(gross(net)) });

/** Amounts are EUR net unless said otherwise. */

/** German VAT, as `GET /pricing` shows it to a German account. */
export const vatPercent = 19;

/** A primary IPv4 costs 0.50 EUR a month, assigned or not; IPv6 is free. */
export const ipv4Monthly = 0.5;

/** Hourly prices are monthly ones / 624, rounded to four digits (5.49 -> 0.0088, 19.49 -> 0.0312). */
export const hourlyNet = (monthly: number) => Math.round((monthly / 624) * 10_000) / 10_000;

export const gross = (net: number) => net * (1 + vatPercent / 100);

/** The API writes amounts as strings with ten digits. */
export const money = (amount: number) => amount.toFixed(10);

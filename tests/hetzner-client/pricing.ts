/** What the simulated Hetzners answer to `GET /pricing`: EUR, the net prices of June 2026, everywhere the same. */
import { type PriceList, priceListShape } from "../../pool/cloud/prices.ts";

const locations = ["fsn1", "nbg1", "hel1"];
const money = (net: number) => ({ net: net.toFixed(10), gross: (net * 1.19).toFixed(10) });
const everywhere = (hourly: number, monthly: number) =>
  locations.map((location) => ({ location, price_hourly: money(hourly), price_monthly: money(monthly) }));

export const pricing = {
  currency: "EUR",
  vat_rate: "19.0000000000",
  server_types: [
    { name: "cx23", prices: everywhere(0.0088, 5.49) },
    { name: "cx33", prices: everywhere(0.0136, 8.49) },
    { name: "cpx22", prices: everywhere(0.0312, 19.49) },
  ],
  primary_ips: [
    { type: "ipv4", prices: everywhere(0.0008, 0.5) },
    { type: "ipv6", prices: everywhere(0, 0) },
  ],
  volume: { price_per_gb_month: money(0.0572) },
  image: { price_per_gb_month: money(0.0143) },
};

export const priceList: PriceList = priceListShape.parse(pricing);

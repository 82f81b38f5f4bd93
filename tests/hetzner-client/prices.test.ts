import { strict as assert } from "node:assert";
import fc from "fast-check";
import { ipv4Price, machinePrice, priceListShape, serverPrice } from "../../pool/cloud/prices.ts";
import { priceList, pricing } from "./pricing.ts";

const cx23 = { serverType: "cx23", location: "fsn1" };

describe("Hetzner's price list", () => {
  it("loses of a list the entries that are not as described, and no others", () => {
    const [first, second] = pricing.server_types;
    const odd = {
      ...first,
      prices: [{ location: "fsn1", price_hourly: { net: "" } }, ...(first?.prices.slice(1) ?? [])],
    };
    const list = priceListShape.parse({
      ...pricing,
      server_types: [odd, second, "cx43", { name: "cx53" }],
      volume: null,
    });
    assert.equal(serverPrice(list, cx23).known, false);
    assert.equal(serverPrice(list, { ...cx23, location: "nbg1" }).known, true);
    assert.equal(serverPrice(list, { ...cx23, serverType: "cx33" }).known, true);
    assert.equal(list.volumeGbMonth, null);
  });

  it("takes what is listed for nothing, or for no number, for what has no price", () => {
    for (const net of ["0.0000000000", "NaN", "-1", "1e3", "", "Infinity", "0x10", null, 5]) {
      const price = {
        location: "fsn1",
        price_hourly: { net, gross: net },
        price_monthly: { net, gross: net },
      };
      const list = priceListShape.parse({
        ...pricing,
        server_types: [{ name: "cx23", prices: [price] }],
        primary_ips: [{ type: "ipv4", prices: [price] }],
      });
      assert.deepEqual(serverPrice(list, cx23), {
        known: false,
        reason: "no price for cx23 at fsn1: Hetzner's price list does not have it",
      });
      assert.equal(ipv4Price(list, "fsn1").known, false);
    }
  });

  it("knows no machine's price while its address has none, or no list was read", () => {
    const list = priceListShape.parse({ ...pricing, primary_ips: [] });
    assert.deepEqual(machinePrice(list, cx23), {
      known: false,
      reason: "no price for a primary IPv4 at fsn1: Hetzner's price list does not have it",
    });
    assert.deepEqual(machinePrice(null, cx23), {
      known: false,
      reason: "no price for cx23 at fsn1: Hetzner's price list has not been read yet",
    });
  });

  it("refuses what is no price list at all", () => {
    for (const list of [null, {}, { ...pricing, currency: "" }, { ...pricing, server_types: null }]) {
      assert.equal(priceListShape.safeParse(list).success, false);
    }
  });

  it("never gives a price that is not a positive number, whatever is asked", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (serverType, location) => {
        const answer = machinePrice(priceList, { serverType, location });
        if (answer.known) assert(answer.price.hourly.net > 0 && answer.price.monthly.net > 0);
        else assert.match(answer.reason, /^no price for /);
      }),
    );
  });
});

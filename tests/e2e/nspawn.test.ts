import { installMissing, missingParts } from "../cloud/machines/nspawn/missing.ts";
import { wholeWay } from "./way.ts";

// Asked before the suite is built, so that a host without nspawn skips it with the reason.
await installMissing(console.log);
const missing = await missingParts();

if (missing.length === 0) wholeWay("nspawn");
else {
  const reason = missing.map(({ part, remedy }) => `${part} (${remedy})`).join("; ");
  describe("the whole way on nspawn machines", () => {
    it(`cannot run on this host, which lacks: ${reason}`, function () {
      console.log(`\n*** NOT TESTED: the whole way on nspawn machines. This host lacks: ${reason} ***\n`);
      this.skip();
    });
  });
}

import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { startRig } from "./rig.ts";
import { type Answer, everyObject } from "./samples/scenario.ts";
import { type Shapes, shapeOf } from "./samples/shapes.ts";

/** Kind of object to its type in objects/wire.ts, which is the pinned library's. */
const types: Readonly<Record<string, string>> = {
  "checkout.session": "SessionObject",
  item: "LineItemObject",
  subscription: "SubscriptionObject",
  subscription_item: "SubscriptionItemObject",
  plan: "PlanObject",
  invoice: "InvoiceObject",
  line_item: "InvoiceLineObject",
  invoice_payment: "InvoicePaymentObject",
  payment_intent: "PaymentIntentObject",
  charge: "ChargeObject",
  refund: "RefundObject",
  dispute: "DisputeObject",
  customer: "CustomerObject",
  product: "ProductObject",
  price: "PriceObject",
  payment_method: "PaymentMethodObject",
  webhook_endpoint: "WebhookEndpointObject",
  event: "EventObject",
  "v2.core.event_destination": "EventDestinationObject",
  "v2.core.event": "ThinEventObject",
};

/** What Stripe's examples have and the pinned version has not, or not always. */
const elsewhere: Readonly<Record<string, readonly string[]>> = {
  // Before the pinned version; `refunds` only on request.
  charge: ["destination", "dispute", "order", "refunds"],
  // Since 2025-03-31 in `parent`.
  invoice: ["subscription", "lines.total_count"],
};

describe("objects of the stand-in for Stripe", function () {
  // The compiler reads all of the library's types.
  this.timeout(60_000);
  let kinds: Map<string, Answer[]>;
  before(async () => {
    const rig = await startRig({}, null);
    try {
      kinds = await everyObject(rig);
    } finally {
      await rig.close();
    }
  });

  it("are of every kind that this test knows", () => {
    assert.deepEqual([...kinds.keys()].sort(), Object.keys(types).sort());
  });

  it("are what the types of the pinned library say, no field more or less", async () => {
    const dir = await mkdtemp(join(tmpdir(), "clawpool-stripe-types-"));
    try {
      const lines: string[] = [];
      let count = 0;
      const declare = (type: string, value: unknown) =>
        lines.push(`export const o${count++}: Stand.${type} = ${JSON.stringify(value)};`);
      const wrong = (type: string, value: unknown) => {
        lines.push("// @ts-expect-error");
        declare(type, value);
      };
      for (const [kind, objects] of kinds) {
        const type = types[kind] ?? "";
        for (const object of unlike(objects)) {
          const about = kind === "event" ? aboutOf(object) : null;
          declare(
            type,
            about === null ? object : { ...object, data: { ...about, object: idOf(about.object) } },
          );
          if (about) declare(types[about.object.object] ?? "", about.object);
        }
        // So that nobody has to believe that the compiler looks.
        const [{ id: _, ...nameless } = {}] = objects.map((object) => object as Record<string, unknown>);
        wrong(type, nameless);
        wrong(type, { ...objects[0], colour: "red" });
        wrong(type, { ...objects[0], id: 1 });
      }
      const root = fileURLToPath(new URL("../../..", import.meta.url));
      const wire = join(root, "tests/cloud/stripe/objects/wire.ts");
      await writeFile(
        join(dir, "answers.mts"),
        `import type * as Stand from "${wire}";\n${lines.join("\n")}\n`,
      );
      const config = {
        extends: join(root, "tsconfig.json"),
        compilerOptions: { types: [] },
        include: ["answers.mts"],
      };
      await writeFile(join(dir, "tsconfig.json"), JSON.stringify(config));
      const compiler = join(root, "node_modules/typescript/lib/tsc.js");
      const { exitCode, stdout } = await execa(process.execPath, [compiler, "-p", dir], { reject: false });
      assert.equal(exitCode, 0, stdout.slice(0, 3_000));
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it("have the fields of Stripe's own examples, of the same types", () => {
    const file = new URL("samples/shapes.json", import.meta.url);
    const shapes = JSON.parse(readFileSync(file, "utf8")) as Shapes;
    const differences: string[] = [];
    for (const [kind, shape] of Object.entries(shapes)) {
      const objects = kinds.get(kind);
      assert(objects, `no ${kind}`);
      for (const object of unlike(objects)) differences.push(...differencesOf(kind, object, shape));
    }
    assert.deepEqual([...new Set(differences)], []);
  });
});

interface About {
  readonly object: Answer;
}

/** An event is typed for any object; the object has a type of its own. */
const aboutOf = (event: Answer): About => event.data as About;
const idOf = ({ id, object }: Answer) => ({ id, object });

/** One object for each shape; a thousand that are alike say nothing more. */
function unlike(objects: readonly Answer[]): Answer[] {
  return [...new Map(objects.map((object) => [JSON.stringify(shapeOf(object)), object])).values()];
}

function differencesOf(kind: string, object: Answer, shape: Readonly<Record<string, string>>): string[] {
  const own = shapeOf(object);
  const differences: string[] = [];
  for (const [path, wanted] of Object.entries(shape)) {
    const [holder] = /^.*(?=\.)/.exec(path) ?? [];
    // A nested field can only be missed where there is something for it to be in.
    const expected = holder === undefined || own[holder] === "object";
    const given = own[path];
    if (given === undefined) {
      const excused = elsewhere[kind]?.includes(path) || path.endsWith("[]") || variesByType(path);
      if (expected && !excused) differences.push(`${kind}.${path} is missing`);
    } else if (given !== wanted && given !== "null" && wanted !== "null" && path !== "data.object") {
      differences.push(`${kind}.${path} is a ${given}, at Stripe a ${wanted}`);
    }
  }
  return differences;
}

/** A hash for each kind of payment method, of which only the one in use is there. */
const variesByType = (path: string): boolean => /^payment_method_details\.card$/.test(path);

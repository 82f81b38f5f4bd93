/** Fields that several parts of clawpool.yaml have. */
import { z } from "zod";

/** Never the secret itself: a file or an environment variable that holds it. */
export const secret = z
  .union(
    [
      z.strictObject({ file: z.string().min(1) }),
      z.strictObject({
        env: z.string().regex(/^[A-Z_][A-Z0-9_]*$/, "want a variable's name such as STRIPE_KEY"),
      }),
    ],
    { error: "want {file: PATH} or {env: NAME}, never the secret itself" },
  )
  .describe("where the secret is found: {file: PATH} or {env: NAME}");

export const url = z.url({ protocol: /^https?$/, error: "want an http or https URL" });
export const port = z.int().min(1).max(65_535);

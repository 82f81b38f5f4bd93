/** What a failed run means to the daemon. The provider passes Hetzner's error codes on inside its texts. */
import { kindOf } from "../error-kinds.ts";
import { BorderError, type BorderErrorKind } from "../errors.ts";
import type { RunResult } from "./terraform.ts";

type RunError = RunResult["errors"][number];

/**
 * The error of a run that was not ok. Of several diagnostics the one that a person or another location could do
 * something about wins over "try again".
 */
export function terraformError(result: RunResult): BorderError {
  const known = result.errors.filter(({ summary }) => summary !== "execution halted").map(classify);
  const order: readonly BorderErrorKind[] = ["auth", "quota", "capacity", "permanent", "transient"];
  const worst = known.sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))[0];
  const ending = result.exitCode === null ? "ended without an exit status" : `exit ${result.exitCode}`;
  const text = worst?.text ?? `no reason given (${ending})`;
  return new BorderError(`terraform run ${result.run}: ${text}`, {
    border: "terraform",
    // Without a diagnostic terraform was killed or broke: nothing says that it would again.
    kind: worst?.kind ?? "transient",
    ...(worst?.code ? { code: worst.code } : {}),
    run: result.run,
    log: result.errors
      .map(({ summary, detail, address }) => [address, summary, detail.trim()].filter(Boolean).join("\n"))
      .join("\n\n"),
  });
}

interface Classified {
  readonly kind: BorderErrorKind;
  readonly code: string | undefined;
  readonly text: string;
}

/** `message (code, correlation or action id)`; resources of the provider's newer half say it in the detail. */
const codeInSummary = /\(([a-z][a-z0-9_]*)(?:, [0-9a-f]+)?\)(?:: \[|$)/;
const codeInDetail = /^Error code: ([a-z0-9_]+)$/m;
const statusInDetail = /^Status code: (\d{3})$/m;
const bareStatus = /server responded with status code (\d{3})$/;

export function classify({ summary, detail }: Pick<RunError, "summary" | "detail">): Classified {
  const text = detail && !summary.includes(detail) ? `${summary}: ${detail.trim()}` : summary;
  const bare = bareStatus.exec(summary)?.[1] ?? bareStatus.exec(detail.trim())?.[1];
  if (bare) return { kind: kindOf("terraform", { status: Number(bare) }), code: `http_${bare}`, text };
  const code = codeInSummary.exec(summary)?.[1] ?? codeInDetail.exec(detail)?.[1];
  const status = statusInDetail.exec(detail)?.[1];
  const said = { code, status: status === undefined ? undefined : Number(status), text };
  // A code without a status: of an answer that was a refusal, whatever its number.
  if (code && status === undefined) said.status = 400;
  return { kind: kindOf("terraform", said), code, text };
}

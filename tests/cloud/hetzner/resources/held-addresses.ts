import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";

/**
 * Takes an IPv4 address from the machines' network for as long as `commit` needs to store what owns it; gives it back
 * when `commit` throws.
 * @throws ApiError 503 when there is no address left.
 */
export async function holdIpv4<T>({ backend }: Context, commit: (ipv4: string) => T): Promise<T> {
  let ipv4: string;
  try {
    ipv4 = await backend.reserveAddress();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ApiError(503, "unavailable", `no address could be reserved: ${reason}`);
  }
  try {
    return commit(ipv4);
  } catch (error) {
    await backend.releaseAddress(ipv4);
    throw error;
  }
}

/** The same for both types. IPv6 prefixes are computed, not held: then `commit` gets null. */
export async function holdAddress<T>(
  context: Context,
  type: "ipv4" | "ipv6",
  commit: (ipv4: string | null) => T,
): Promise<T> {
  return type === "ipv6" ? commit(null) : holdIpv4(context, commit);
}

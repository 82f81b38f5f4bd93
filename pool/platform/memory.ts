/** What the store remembers of the platform beside its terraform state. */
import type { Store } from "../store/store.ts";
import type { PlatformIds } from "../terraform/terraform.ts";

/** The setting that holds the stack's ids, and of what inputs they are. */
const appliedSetting = "platform/applied";
/** The setting that holds the public half of the controller's key, when the store was rebuilt and has no other. */
const recalledKey = "platform/controller-public-key";

export interface AppliedPlatform {
  /** Of the inputs that it was applied with; empty when they are not known, so that it is applied again. */
  readonly digest: string;
  readonly ids: PlatformIds;
}

type Settings = Pick<Store, "setting" | "putSetting">;

/** null before the first apply. */
export const appliedPlatform = (store: Settings): AppliedPlatform | null =>
  JSON.parse(store.setting(appliedSetting) ?? "null");

export const rememberApplied = (store: Settings, applied: AppliedPlatform): void =>
  store.putSetting(appliedSetting, JSON.stringify(applied));

export const recalledPublicKey = (store: Settings): string | null => store.setting(recalledKey);

/** For a store that was rebuilt. With what was recalled the next apply changes nothing. */
export function rememberRecalled(store: Settings, ids: PlatformIds, controllerPublicKey: string): void {
  store.putSetting(recalledKey, controllerPublicKey);
  rememberApplied(store, { digest: "", ids });
}

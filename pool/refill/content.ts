/**
 * What a machine was made of: server type, image, and the hash of what it was prepared by, as the machine itself has it on
 * record (`installed.recipe`). A machine is stale when that is not what its pool would make now; what was wished for when it
 * was built does not count.
 */
import type { Config, PoolConfig } from "../config/config.ts";
import type { Machine } from "../machine/machine.ts";
import type { Store } from "../store/store.ts";

/** Where the controller notes the hash of the playbook's files (pool/ansible/recipe.ts). */
export const recipeSetting = "prepare/recipe";

/** What the pool's next machine would be made of; null as long as the recipe was not read. Claims compare the same text in SQL. */
export function wantedContent(
  { serverType, image }: PoolConfig,
  store: Pick<Store, "setting">,
): string | null {
  const recipe = store.setting(recipeSetting);
  return recipe === null ? null : `${serverType} ${image} ${recipe}`;
}

/** Null when the machine has nothing on record: a playbook of the operator's own need not write it. */
export function contentOf({ serverType, image, installed }: Machine): string | null {
  return installed?.recipe ? `${serverType} ${image} ${installed.recipe}` : null;
}

/** Warm machines of the pool: ready, or about to be again. */
export function warmMachines(store: Pick<Store, "machines">, pool: string): Machine[] {
  return store
    .machines({ pool, states: ["ready", "proving"] })
    .filter(({ state, readyAt, held }) => held === null && (state === "ready" || readyAt !== null));
}

/** Server type, image and the recipe's beginning, for people. */
export const shownContent = (content: string): string => content.replace(/ (\w{12})\w+$/, " $1");

export const poolOf = (config: Config, name: string): PoolConfig | null =>
  config.pools.find((pool) => pool.name === name) ?? null;

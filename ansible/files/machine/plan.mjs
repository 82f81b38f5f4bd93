/** Which way an order's hand-over goes: new values, a patch of the config, or a restart. */
import { readFile } from "node:fs/promises";
import { Failure } from "./report.mjs";

/** The names that the gateway's config takes from `.env` by reference; others reach it only through a restart. */
function referenced(config, found = new Set()) {
  if (typeof config !== "object" || config === null) return found;
  if (config.source === "exec" && typeof config.id === "string") found.add(config.id);
  for (const value of Object.values(config)) referenced(value, found);
  return found;
}

/** Channels that start when their token is there; a reference starts them without a restart. */
const channelTokens = { TELEGRAM_BOT_TOKEN: (ref) => ({ telegram: { enabled: true, botToken: ref } }) };

/** What the order needs beyond new values for the references: a patch of the config, or a restart. */
export async function plan(facts, request) {
  const config = JSON.parse(await readFile(facts.configFile, "utf8"));
  const provider = config.gateway?.auth?.token?.provider;
  const known = referenced(config);
  const patch = {};
  const loose = [];
  for (const name of Object.keys(request.env)) {
    if (known.has(name)) continue;
    const channel = channelTokens[name]?.({ source: "exec", provider, id: name });
    if (channel) patch.channels = { ...patch.channels, ...channel };
    else loose.push(name);
  }
  const primary = request.model?.primary;
  if (primary !== undefined && primary !== config.agents?.defaults?.model?.primary) {
    // The gateway takes any text for a model and fails at the first turn: what is not declared is refused here.
    const [, name, model] = /^([^/]+)\/(.+)$/.exec(primary);
    const declared = config.models?.providers?.[name];
    const models = declared?.models ?? [];
    if (!declared || (models.length > 0 && !models.some(({ id }) => id === model))) {
      throw new Failure("model", `the machine's config does not declare the model ${primary}`, false);
    }
    patch.agents = { defaults: { model: { primary } } };
  }
  const way =
    request.way === "restart" || loose.length > 0
      ? "restart"
      : Object.keys(patch).length > 0
        ? "config"
        : "reload";
  return { way, patch, config };
}

/** JSON merge patch (RFC 7396) without deletions. */
export function merge(base, patch) {
  const result = { ...base };
  for (const [name, value] of Object.entries(patch)) {
    const nested = typeof value === "object" && value !== null && !Array.isArray(value);
    result[name] = nested ? merge(result[name], value) : value;
  }
  return result;
}

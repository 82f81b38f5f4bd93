/**
 * Scopes of trust credentials, as Tailscale's API description names them at each operation. One without `:read`
 * includes the one with it; `all` and `all:read` stand for every other.
 */
const families = [
  "account_settings",
  "api_access_tokens",
  "auth_keys",
  "device_invites",
  "devices:core",
  "devices:posture_attributes",
  "devices:routes",
  "dns",
  "feature_settings",
  "federated_keys",
  "log_streaming",
  "logs:configuration",
  "logs:network",
  "networking_settings",
  "oauth_keys",
  "policy_file",
  "services",
  "tailnets",
  "user_invites",
  "users",
  "webhooks",
];

export const isScope = (scope: string): boolean => {
  const family = scope.endsWith(":read") ? scope.slice(0, -":read".length) : scope;
  return family === "all" || families.includes(family);
};

/** Whether somebody with these scopes may do what needs `needed`. */
export const permits = (scopes: readonly string[], needed: string): boolean =>
  scopes.some(
    (scope) =>
      scope === needed ||
      scope === "all" ||
      (needed.endsWith(":read") && (scope === "all:read" || `${scope}:read` === needed)),
  );

/** A credential with one of these must have tags: what it makes would belong to nobody otherwise. */
export const needsTags = (scopes: readonly string[]): boolean =>
  scopes.some((scope) => scope === "devices:core" || scope === "auth_keys" || scope === "all");

/** Every error that a border documents, by what it means to us. */
import { strict as assert } from "node:assert";
import { kindOf, type Said } from "../pool/error-kinds.ts";
import type { Border, BorderErrorKind } from "../pool/errors.ts";

type Case = readonly [said: Said, kind: BorderErrorKind];
const coded = (kind: BorderErrorKind, ...codes: string[]): Case[] =>
  codes.map((text) => {
    const [status, code] = text.split(" ");
    return [{ status: Number(status), code: code ?? null }, kind];
  });
const said = (kind: BorderErrorKind, ...texts: string[]): Case[] => texts.map((text) => [{ text }, kind]);

const cases: Readonly<Record<Border, readonly Case[]>> = {
  // All of Hetzner's API description: "Errors" and the tables of its operations.
  cloud: [
    ...coded("transient", "403 maintenance", "409 conflict", "423 locked", "422 service_error"),
    ...coded("transient", "422 resource_in_use", "429 rate_limit_exceeded", "500 server_error"),
    ...coded("transient", "502 bad_gateway", "503 unavailable", "504 timeout"),
    ...coded("transient", "408", "429", "500", "502", "503", "504"),
    ...coded("capacity", "412 resource_unavailable", "422 placement_error", "422 no_space_left_in_location"),
    ...coded("quota", "403 resource_limit_exceeded", "403 server_limit_reached"),
    ...coded("auth", "401 unauthorized", "401 token_readonly", "403 forbidden", "401", "403"),
    ...coded(
      "permanent",
      "400 json_error",
      "404 not_found",
      "405 method_not_allowed",
      "409 uniqueness_error",
    ),
    ...coded("permanent", "410 deprecated_api_endpoint", "422 invalid_input", "422 unsupported_error"),
    ...coded("permanent", "423 protected", "404 firewall_resource_not_found", "422 invalid_server_type"),
    ...coded("permanent", "412 primary_ip_version_mismatch", "412 source_port_already_used"),
    ...coded("permanent", "422 already_in_placement_group", "422 firewall_already_applied"),
    ...coded("permanent", "422 firewall_managed_by_label_selector", "422 firewall_resource_not_found"),
    ...coded("permanent", "422 floating_ip_assigned", "422 incompatible_network_type"),
    ...coded("permanent", "422 incorrect_zone_mode", "422 invalid_load_balancer_type"),
    ...coded("permanent", "422 ip_not_assigned_to_server", "422 ip_not_available", "422 ip_not_owned"),
    ...coded("permanent", "422 ip_not_in_vswitch_subnet", "422 load_balancer_already_attached"),
    ...coded("permanent", "422 load_balancer_not_attached_to_network", "422 must_be_unassigned"),
    ...coded("permanent", "422 load_balancer_public_interface_disabled", "422 networks_overlap"),
    ...coded("permanent", "422 network_has_no_vswitch_subnet", "422 no_subnet_available"),
    ...coded("permanent", "422 primary_ip_already_assigned", "422 primary_ip_assigned"),
    ...coded("permanent", "422 primary_ip_datacenter_mismatch", "422 private_net_only_server"),
    ...coded(
      "permanent",
      "422 resolve_cloud_private_targets_error",
      "422 resolve_cloud_public_targets_error",
    ),
    ...coded("permanent", "422 server_already_added", "422 server_already_attached", "422 server_has_ipv4"),
    ...coded("permanent", "422 server_has_ipv6", "422 server_is_load_balancer_target"),
    ...coded("permanent", "422 server_not_stopped", "422 source_port_already_used"),
    ...coded("permanent", "422 target_already_defined", "422 targets_without_use_private_ip"),
    ...coded("permanent", "418 something_new", "501"),
    [{ code: "no_answer" }, "transient"],
    [{}, "transient"],
  ],
  terraform: [
    [{ code: "action_failed" }, "transient"],
    [{ code: "resource_unavailable" }, "capacity"],
    [{ code: "server_limit_reached" }, "quota"],
    [{ code: "token_readonly" }, "auth"],
    [{ status: 400, code: "invalid_input" }, "permanent"],
    [{ status: 503 }, "transient"],
    ...said(
      "transient",
      'Post "http://127.0.0.1:1/v1/servers": EOF',
      "unexpected EOF",
      "actions not found: [1]",
    ),
    ...said("transient", "dial tcp: connection refused", "read: connection reset by peer", "i/o timeout"),
    ...said("transient", "context deadline exceeded", "no such host", "net/http: TLS handshake timeout"),
    ...said("transient", "Error acquiring the state lock", "Plugin did not respond"),
    ...said("transient", "Failed to save state: Error saving state", "Failed to persist state to backend: x"),
    ...said("transient", "write terraform.tfstate: no space left on device", "open x: too many open files"),
    ...said("permanent", "Unsupported argument", "Failed to load plugin schemas", ""),
  ],
  ssh: [
    ...[
      "timeout",
      "closed",
      "exec",
      "ECONNREFUSED",
      "ECONNRESET",
      "EHOSTUNREACH",
      "ENETUNREACH",
      "ETIMEDOUT",
    ].map((code): Case => [{ code }, "transient"]),
    [{ code: "auth" }, "auth"],
    [{ code: "host-key" }, "permanent"],
    [{ code: "config" }, "permanent"],
    [{ code: "first-boot" }, "permanent"],
  ],
  ansible: [
    [{ code: "timeout" }, "transient"],
    [{ code: "aborted" }, "transient"],
    [{ code: "unreachable" }, "transient"],
    [{ code: "refused" }, "auth"],
    [{ code: "host_key" }, "permanent"],
    [{ code: "playbook" }, "permanent"],
    ...said("transient", "Temporary failure in name resolution", "Could not resolve host: x", "ETIMEDOUT"),
    ...said("transient", "Failed to update apt cache", "npm error network", "Hash Sum mismatch", "EAI_AGAIN"),
    ...said("transient", "The requested URL returned error: 503", "Could not get lock /var/lib/dpkg/lock"),
    ...said("permanent", "No package matching 'openclaw'", "The requested URL returned error: 404", ""),
  ],
  machine: [
    ...["ended", "dropped", "timeout", "not-armed", "retryable"].map((code): Case => [{ code }, "transient"]),
    ...["refused", "protocol", "not-attested"].map((code): Case => [{ code }, "permanent"]),
  ],
  tailnet: [
    // Tailscale documents 400, 404, 500, 501 and, on the device list, 504; it publishes no rate limit.
    ...coded("transient", "429", "500", "502", "503", "504"),
    ...coded("auth", "401", "403", "400 invalid_client", "401 invalid_client", "400 unauthorized_client"),
    ...coded("auth", "400 invalid_scope", "403 access_denied"),
    ...coded("permanent", "400", "404", "501", "400 invalid_request", "400 unsupported_grant_type"),
    [{ code: "no_answer" }, "transient"],
    [{ code: "bad_answer" }, "permanent"],
  ],
  stripe: [
    // Stripe's "Error handling": by status, and codes that say more.
    ...coded("transient", "409", "429", "429 rate_limit", "429 lock_timeout", "500", "502", "503", "504"),
    ...coded("transient", "409 idempotency_key_in_use"),
    ...coded("auth", "401", "403", "401 api_key_expired", "401 platform_api_key_expired"),
    ...coded("auth", "403 secret_key_required"),
    ...coded("permanent", "400", "402 card_declined", "404 resource_missing", "400 parameter_invalid_empty"),
    [{}, "transient"],
  ],
  callback: [
    ...coded("transient", "301", "400", "404", "408", "422", "429", "500", "502", "503", "504"),
    ...coded("auth", "401", "403"),
    ...coded("permanent", "410", "413"),
    [{}, "transient"],
  ],
  mail: [
    ...coded("auth", "535 EAUTH", "530 EENVELOPE"),
    ...coded("permanent", "550 EENVELOPE", "552 EMESSAGE", "554 EMESSAGE"),
    ...coded("transient", "421 EENVELOPE", "450 EENVELOPE", "451 EMESSAGE", "554 EPROTOCOL"),
    [{ code: "ECONNECTION" }, "transient"],
    [{ code: "ETIMEDOUT" }, "transient"],
    [{ code: "EDNS" }, "transient"],
    [{ code: "ETLS" }, "transient"],
  ],
};

describe("what a border says", () => {
  for (const [border, list] of Object.entries(cases) as [Border, readonly Case[]][]) {
    for (const kind of ["transient", "capacity", "quota", "auth", "permanent"] as const) {
      const those = list.filter(([, wanted]) => wanted === kind);
      if (those.length === 0) continue;
      it(`is ${kind} for ${border}: ${those.length} answers`, () => {
        for (const [what] of those) assert.equal(kindOf(border, what), kind, JSON.stringify(what));
      });
    }
  }

  it("that nobody has classified yet is judged by its status", () => {
    for (const border of ["cloud", "tailnet", "stripe"] as const) {
      assert.equal(kindOf(border, { status: 599, code: "made_up" }), "transient");
      assert.equal(kindOf(border, { status: 422, code: "made_up" }), "permanent");
    }
  });
});

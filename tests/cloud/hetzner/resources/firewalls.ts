import { z } from "zod";
import type { Action } from "../actions/engine.ts";
import { actionRoutesOf, presentAction } from "../actions/routes.ts";
import type { Context } from "../context.ts";
import { ApiError } from "../http/errors.ts";
import { answerList, byIdNameCreated, filterNamed } from "../http/listing.ts";
import type { Answer, Route } from "../http/router.ts";
import { timestamp } from "../http/timestamp.ts";
import { idSchema, labelsSchema, nameSchema, parseBody, updateSchema } from "../http/validation.ts";
import { parseLabelSelector } from "../label-selector.ts";
import type { FirewallTarget, Stored } from "../store/documents.ts";
import { rulesSchema } from "./firewall-rules.ts";
import { firewallsOf, maxFirewallsPerServer, selectedServers } from "./firewall-targets.ts";
import { assertBelowLimit, assertNameFree, fromPath } from "./lookup.ts";

const targetsSchema = z.array(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("server"), server: z.object({ id: idSchema }) }),
    z.object({
      type: z.literal("label_selector"),
      label_selector: z.object({ selector: z.string().min(1) }),
    }),
  ]),
);
const createSchema = z.object({
  name: nameSchema,
  labels: labelsSchema.optional(),
  rules: rulesSchema.optional(),
  apply_to: targetsSchema.optional(),
});

const toTargets = (targets: z.infer<typeof targetsSchema>): FirewallTarget[] =>
  targets.map((target) =>
    target.type === "server"
      ? { type: "server", server: target.server.id }
      : { type: "label_selector", selector: target.label_selector.selector },
  );

function present(context: Context, firewall: Stored<"firewall">): Record<string, unknown> {
  return {
    id: firewall.id,
    name: firewall.name,
    labels: firewall.labels,
    created: timestamp(firewall.created),
    rules: firewall.rules,
    applied_to: firewall.appliedTo.map((target) =>
      target.type === "server"
        ? { type: "server", server: { id: target.server } }
        : {
            type: "label_selector",
            label_selector: { selector: target.selector },
            applied_to_resources: selectedServers(context, firewall.project, target.selector).map(
              ({ id }) => ({ type: "server", server: { id } }),
            ),
          },
    ),
  };
}

/** 422 when a firewall is made, 404 when it is changed: so says the API description of each operation. */
const resourceNotFound = (status: 404 | 422) =>
  new ApiError(status, "firewall_resource_not_found", "firewall resource not found");

const same = (a: FirewallTarget, b: FirewallTarget) => JSON.stringify(a) === JSON.stringify(b);

/** Starts one action for each target. */
function apply(
  context: Context,
  firewall: Stored<"firewall">,
  targets: readonly FirewallTarget[],
  whenNotFound: 404 | 422 = 404,
): Action[] {
  const known = [...firewall.appliedTo];
  for (const target of targets) {
    if (known.some((other) => same(other, target))) {
      throw new ApiError(422, "firewall_already_applied", "firewall is already applied to the resource");
    }
    known.push(target);
    if (target.type === "label_selector") {
      parseLabelSelector(target.selector, "apply_to.label_selector.selector");
      continue;
    }
    const server = context.store.get("server", firewall.project, target.server);
    if (!server || server.reserved) throw resourceNotFound(whenNotFound);
    if (server.ipv4 === null && server.ipv6 === null) {
      throw new ApiError(422, "private_net_only_server", "the server has no public interface");
    }
    const others = firewallsOf(context, server).filter((entry) => entry.firewall.id !== firewall.id);
    if (others.length >= maxFirewallsPerServer) {
      throw new ApiError(403, "resource_limit_exceeded", "firewalls per server limit exceeded", {
        limits: [{ name: "firewalls_per_server_limit" }],
      });
    }
  }
  context.store.update("firewall", firewall, { appliedTo: known });
  return targets.map((target) => start(context, firewall, "apply_firewall", target));
}

function remove(
  context: Context,
  firewall: Stored<"firewall">,
  targets: readonly FirewallTarget[],
): Action[] {
  for (const target of targets) {
    if (firewall.appliedTo.some((other) => same(other, target))) continue;
    const server =
      target.type === "server" ? context.store.get("server", firewall.project, target.server) : null;
    if (server && firewallsOf(context, server).some((entry) => entry.firewall.id === firewall.id)) {
      throw new ApiError(
        422,
        "firewall_managed_by_label_selector",
        "the firewall is applied by a label selector and cannot be removed by hand",
      );
    }
    throw resourceNotFound(404);
  }
  context.store.update("firewall", firewall, {
    appliedTo: firewall.appliedTo.filter((known) => !targets.some((target) => same(known, target))),
  });
  return targets.map((target) => start(context, firewall, "remove_firewall", target));
}

function start(
  context: Context,
  firewall: Stored<"firewall">,
  command: "apply_firewall" | "remove_firewall" | "set_firewall_rules",
  target?: FirewallTarget,
): Action {
  const own = { type: "firewall", id: firewall.id };
  const resources = target?.type === "server" ? [own, { type: "server", id: target.server }] : [own];
  // Changes of a firewall neither wait for each other nor lock the server.
  return context.actions.start(firewall.project, command, resources, { locks: false });
}

const actionsAnswer = (context: Context, actions: readonly Action[]): Answer => ({
  status: 201,
  body: { actions: actions.map((action) => presentAction(context, action)) },
});

export const firewallRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/firewalls",
    handle: (context, request) =>
      answerList(request, {
        key: "firewalls",
        entries: filterNamed(request, context.store.list("firewall", request.project)),
        present: (firewall) => present(context, firewall),
        sortable: byIdNameCreated,
      }),
  },
  {
    method: "POST",
    path: "/firewalls",
    handle: (context, request) =>
      context.store.transaction(() => {
        const body = parseBody(createSchema, request.body);
        const targets = toTargets(body.apply_to ?? []);
        if (targets.some((target, index) => targets.findIndex((other) => same(other, target)) !== index)) {
          throw new ApiError(422, "server_already_added", "a resource was given more than once");
        }
        assertNameFree(context, "firewall", request.project, body.name);
        assertBelowLimit(context, "firewall");
        const firewall = context.store.insert("firewall", request.project, {
          name: body.name,
          labels: body.labels ?? {},
          created: context.clock.now(),
          rules: body.rules ?? [],
          appliedTo: [],
        });
        const actions = [
          ...(firewall.rules.length > 0 ? [start(context, firewall, "set_firewall_rules")] : []),
          ...apply(context, firewall, targets, 422),
        ];
        const made = context.store.get("firewall", request.project, firewall.id) ?? firewall;
        return {
          status: 201,
          body: {
            firewall: present(context, made),
            actions: actions.map((action) => presentAction(context, action)),
          },
        };
      }),
  },
  {
    method: "GET",
    path: "/firewalls/{id}",
    handle: (context, request) => ({
      status: 200,
      body: { firewall: present(context, fromPath(context, request, "firewall")) },
    }),
  },
  {
    method: "PUT",
    path: "/firewalls/{id}",
    handle: (context, request) => {
      const firewall = fromPath(context, request, "firewall");
      const patch = parseBody(updateSchema, request.body);
      if (patch.name !== undefined) {
        assertNameFree(context, "firewall", request.project, patch.name, firewall.id);
      }
      const updated = context.store.update("firewall", firewall, patch);
      return { status: 200, body: { firewall: present(context, updated) } };
    },
  },
  {
    method: "DELETE",
    path: "/firewalls/{id}",
    handle: (context, request) => {
      const firewall = fromPath(context, request, "firewall");
      if (firewall.appliedTo.length > 0) {
        throw new ApiError(422, "resource_in_use", "the firewall is still applied to a resource");
      }
      context.store.delete(firewall.id);
      return { status: 204 };
    },
  },
  {
    method: "POST",
    path: "/firewalls/{id}/actions/set_rules",
    handle: (context, request) =>
      context.store.transaction(() => {
        const firewall = fromPath(context, request, "firewall");
        const { rules } = parseBody(z.object({ rules: rulesSchema }), request.body);
        context.store.update("firewall", firewall, { rules });
        const actions = [
          start(context, firewall, "set_firewall_rules"),
          ...firewall.appliedTo.map((target) => start(context, firewall, "apply_firewall", target)),
        ];
        return actionsAnswer(context, actions);
      }),
  },
  {
    method: "POST",
    path: "/firewalls/{id}/actions/apply_to_resources",
    handle: (context, request) =>
      context.store.transaction(() => {
        const firewall = fromPath(context, request, "firewall");
        const body = parseBody(z.object({ apply_to: targetsSchema }), request.body);
        return actionsAnswer(context, apply(context, firewall, toTargets(body.apply_to)));
      }),
  },
  {
    method: "POST",
    path: "/firewalls/{id}/actions/remove_from_resources",
    handle: (context, request) =>
      context.store.transaction(() => {
        const firewall = fromPath(context, request, "firewall");
        const body = parseBody(z.object({ remove_from: targetsSchema }), request.body);
        return actionsAnswer(context, remove(context, firewall, toTargets(body.remove_from)));
      }),
  },
  ...actionRoutesOf("firewalls", "firewall"),
];

import { isos } from "../catalogue/isos.ts";
import { notFound } from "../http/errors.ts";
import { answerList, anyOf } from "../http/listing.ts";
import type { Route } from "../http/router.ts";

export const isoRoutes: readonly Route[] = [
  {
    method: "GET",
    path: "/isos",
    handle: (_context, request) => {
      const name = request.query.get("name");
      const architecture = anyOf(request, "architecture", ["x86", "arm"]);
      return answerList(request, {
        key: "isos",
        entries: isos.filter(
          (iso) =>
            (name === null || iso.name === name) && (!architecture || architecture.has(iso.architecture)),
        ),
        present: (iso) => iso,
      });
    },
  },
  {
    method: "GET",
    path: "/isos/{id}",
    handle: (_context, request) => {
      const iso = isos.find((known) => String(known.id) === request.parameters.id);
      if (!iso) throw notFound("ISO", request.parameters.id ?? "");
      return { status: 200, body: { iso } };
    },
  },
];

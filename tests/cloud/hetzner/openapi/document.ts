import type { Extract, RequestExtract } from "./extract.ts";

/** Puts the extracts back together to an OpenAPI document, for tools that read one. */
export function assembleDocument(responses: Extract, requests: RequestExtract): unknown {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const [operation, { parameters, body }] of Object.entries(requests.operations)) {
    const [method = "", path = ""] = operation.split(" ");
    const answers = Object.entries(responses.operations[operation] ?? {}).map(([status, schema]) => [
      // OpenAPI writes ranges with capitals.
      status.toUpperCase(),
      { description: status, ...(schema === null ? {} : { content: json(schema) }) },
    ]);
    const item = paths[path] ?? {};
    paths[path] = item;
    item[method.toLowerCase()] = {
      operationId: operation,
      parameters,
      ...(body === null ? {} : { requestBody: { required: true, content: json(body) } }),
      responses: Object.fromEntries(answers),
    };
  }
  const document = {
    openapi: "3.1.0",
    info: { title: "Hetzner Cloud API, the part that is emulated", version: "1" },
    paths,
    components: { schemas: { ...responses.$defs, ...requests.$defs } },
  };
  const text = JSON.stringify(document).replaceAll('"#/$defs/', '"#/components/schemas/');
  return JSON.parse(text) as unknown;
}

const json = (schema: unknown) => ({ "application/json": { schema } });

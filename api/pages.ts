/** The status page: one static file whose policy allows exactly the script and style that are in it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Middleware } from "koa";

/** Reads the page once. @throws Error when the file lacks its script or style. */
export function statusPage(): Middleware {
  const html = readFileSync(new URL("./pages/status.html", import.meta.url), "utf8");
  const hash = (tag: string): string => {
    const [, text] = new RegExp(`<${tag}>(.*?)</${tag}>`, "s").exec(html) ?? [];
    if (text === undefined) throw new Error(`api/pages/status.html has no <${tag}>`);
    return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  };
  const policy = [
    "default-src 'none'",
    `script-src ${hash("script")}`,
    `style-src ${hash("style")}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  return async (context, next) => {
    if (context.path !== "/" || (context.method !== "GET" && context.method !== "HEAD")) return next();
    context.set("content-security-policy", policy);
    context.type = "text/html; charset=utf-8";
    context.body = html;
  };
}

/** An HTTP server that slow and greedy senders cannot hold, and that stops when it is told to. */
import { createServer, type Server, type ServerOptions } from "node:http";
import type Koa from "koa";

/** Node enforces the two time-outs only at each check. Milliseconds. */
const limits: ServerOptions = {
  headersTimeout: 15_000,
  requestTimeout: 20_000,
  connectionsCheckingInterval: 5_000,
  // Longer than the idle time-out of the usual proxies, so that they close first.
  keepAliveTimeout: 65_000,
  maxHeaderSize: 16 * 1024,
};

export function createHttpServer(app: Koa): Server {
  const server = createServer(limits, app.callback());
  server.maxConnections = 4_096;
  // close() ends the connections that are idle at that instant; one whose request was still being answered would stay
  // open for keepAliveTimeout, and the daemon with it.
  server.on("request", (_, response) => {
    response.once("close", () => {
      if (!server.listening) setImmediate(() => server.closeIdleConnections());
    });
  });
  return server;
}

/** Takes no more requests; resolves when those that run are answered, or after `drainMs`, when they are cut off. */
export function closeServer(server: Server, drainMs = 10_000): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => server.closeAllConnections(), drainMs);
    server.close((error) => {
      clearTimeout(late);
      if (error) reject(error);
      else resolve();
    });
    server.closeIdleConnections();
  });
}

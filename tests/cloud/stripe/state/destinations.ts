/** Where events are sent: webhook endpoints (v1) and event destinations (v2), and the secrets they are signed with. */
import { randomBytes } from "node:crypto";
import type { EventDestinationObject, WebhookEndpointObject } from "../objects/wire.ts";

interface SigningSecret {
  readonly value: string;
  /** Seconds; null for the one in force. */
  readonly expiresAt: number | null;
}

/** An old secret signs at most this much longer. Source: Stripe's documentation of rolling endpoint secrets. */
export const longestOverlapSeconds = 86_400;

export class Destination {
  readonly object: WebhookEndpointObject | EventDestinationObject;
  url: string;
  readonly #now: () => number;
  #secrets: SigningSecret[];

  constructor(
    object: WebhookEndpointObject | EventDestinationObject,
    url: string,
    now: () => number,
    secret = `whsec_${randomBytes(24).toString("hex")}`,
  ) {
    this.object = object;
    this.url = url;
    this.#now = now;
    this.#secrets = [{ value: secret, expiresAt: null }];
  }

  get payload(): "snapshot" | "thin" {
    return this.object.object === "webhook_endpoint" ? "snapshot" : this.object.event_payload;
  }

  get enabled(): boolean {
    return this.object.status === "enabled";
  }

  /** The secrets that sign now, the newest first. */
  get secrets(): readonly string[] {
    return this.#secrets
      .filter(({ expiresAt }) => expiresAt === null || expiresAt > this.#now())
      .map(({ value }) => value);
  }

  /** Whether events of this type are sent here; thin types carry `v1.` in front. */
  wants(type: string): boolean {
    const name = this.payload === "thin" ? `v1.${type}` : type;
    return this.object.enabled_events.some((enabled) => enabled === "*" || enabled === name);
  }

  /**
   * Makes a new secret. The old one signs beside it for `overlapSeconds`, at most a day.
   * @returns the new secret
   */
  roll(overlapSeconds: number): string {
    const value = `whsec_${randomBytes(24).toString("hex")}`;
    const until = this.#now() + Math.min(overlapSeconds, longestOverlapSeconds);
    const old = this.#secrets.map((secret) => ({
      ...secret,
      expiresAt: Math.min(until, secret.expiresAt ?? until),
    }));
    this.#secrets = [{ value, expiresAt: null }, ...old];
    return value;
  }
}

/** Tailscale's API v2 as the daemon uses it. Errors are BorderErrors of border `tailnet`. */
import type { Secret } from "../secrets/secret.ts";

export interface AuthKey {
  readonly id: string;
  readonly key: Secret;
  /** Epoch ms. */
  readonly expiresAt: number;
}

export interface TailnetDevice {
  readonly nodeId: string;
  readonly hostname: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly tags: readonly string[];
  readonly authorized: boolean;
  readonly connectedToControl: boolean;
  /** Epoch ms; null when Tailscale does not say. */
  readonly createdAt: number | null;
}

/** An auth key as it is listed: never its text. */
export interface AuthKeyShown {
  readonly id: string;
  readonly description: string;
  /** Epoch ms. */
  readonly createdAt: number;
}

/** On whose account a call is made: for the audit, never sent. */
export interface Because {
  /** The machine, or what else it is about. */
  readonly subject: string;
  readonly why: string;
}

export interface Tailnet {
  /** A one-off, pre-authorised, tagged key. `description`: letters, digits, hyphen, space; at most 50. */
  mintKey(
    options: {
      tags: readonly string[];
      expirySeconds: number;
      description: string;
      ephemeral?: boolean;
    },
    because?: Because,
  ): Promise<AuthKey>;
  /** Auth keys that can still be used. */
  authKeys(): Promise<AuthKeyShown[]>;
  revokeKey(id: string, because?: Because): Promise<void>;
  device(nodeId: string): Promise<TailnetDevice | null>;
  devices(tag: string): Promise<TailnetDevice[]>;
  /** Deleting what is already gone is success. */
  deleteDevice(nodeId: string, because?: Because): Promise<void>;
}

/** A small stock of fresh keys, so that no hand-over waits for one to be minted. */
export interface KeyStock {
  /** A key with at least `minTtlMs` to live; from the stock when there is one, else minted now. Never given twice. */
  take(): Promise<AuthKey>;
  /** Mints up to the wanted number; what grew old is dropped and expires. Called by the loop. */
  replenish(): Promise<void>;
  /** Revokes what was not used. */
  close(): Promise<void>;
}

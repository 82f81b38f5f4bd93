/** Where things are below the root that the daemon keeps its terraform folders in. */
import { join } from "node:path";
import { BorderError } from "../errors.ts";

/** Names the folder and the stack of the platform; no machine may be called so. */
export const platformName = "platform";

/** Name at Hetzner of what all machines share: key, firewall, network; with `-0`, `-1` … behind it of each placement group. */
export const sharedName = (instance: string): string => `clawpool-${instance}`;

const namePattern = /^[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?$/;

export const isStackName = (name: string): boolean => name !== platformName && namePattern.test(name);

/**
 * The folder of a stack: `<root>/machines/<name>`, or `<root>/platform`.
 *
 * The name becomes a path and a CDK id, where `..` and `/` would leave the root and two ids that differ only in
 * punctuation would silently become one.
 *
 * @throws BorderError permanent `bad-name`
 */
export function stackFolder(root: string, name: string): string {
  if (name === platformName) return join(root, platformName);
  if (!isStackName(name)) {
    throw new BorderError(`${JSON.stringify(name)} cannot name a terraform stack (want ${namePattern})`, {
      border: "terraform",
      kind: "permanent",
      code: "bad-name",
    });
  }
  return join(root, "machines", name);
}

export const stateFileOf = (folder: string): string => join(folder, "terraform.tfstate");

/** Root's password on a folder machine: none at first, as on Hetzner's images when there are SSH keys. */
import { randomBytes, scryptSync, timingSafeEqual } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

const fileOf = (root: string) => join(root, "etc/root-password");
const hash = (password: string, salt: Buffer) => scryptSync(password, salt, 32);

export async function setRootPassword(root: string, password: string): Promise<void> {
  const salt = randomBytes(16);
  await mkdir(dirname(fileOf(root)), { recursive: true });
  await writeFile(fileOf(root), `${salt.toString("hex")} ${hash(password, salt).toString("hex")}\n`, {
    mode: 0o600,
  });
}

export const hasRootPassword = (root: string): Promise<boolean> =>
  readFile(fileOf(root)).then(
    () => true,
    () => false,
  );

export async function isRootPassword(root: string, password: string): Promise<boolean> {
  const text = await readFile(fileOf(root), "utf8").catch(() => "");
  const [salt, expected] = text
    .trim()
    .split(" ")
    .map((part) => Buffer.from(part, "hex"));
  return Boolean(salt && expected && timingSafeEqual(hash(password, salt), expected));
}

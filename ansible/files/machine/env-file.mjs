/** The agent's `.env`: a text that dotenv reads back unchanged, replaced so that no crash leaves half of it. */
import { open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/**
 * One value as dotenv reads it back unchanged, or null if there is no way. dotenv takes everything between two
 * equal quotes literally (in double quotes \n and \r become line ends, hence no backslash there), but lets a
 * backslash before a quote continue the text, on following lines too, hence none at the end.
 */
export function quoted(value) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is refused
  if (/[\x00-\x1f\x7f\u2028\u2029]/.test(value) || !value.isWellFormed()) return null;
  if (!value.includes("'") && !value.endsWith("\\")) return `'${value}'`;
  if (!value.includes("`") && !value.endsWith("\\")) return `\`${value}\``;
  if (!value.includes('"') && !value.includes("\\")) return `"${value}"`;
  // Only a backslash at the end is left to carry: bare, if nothing in it means something there.
  return /^[A-Za-z0-9_./:@+=,%!?*~^()[\]{}<>|&;$-][A-Za-z0-9_./:@+=,%!?*~^()[\]{}<>|&;$\\-]*$/.test(value)
    ? value
    : null;
}

export function encodeEnv(values) {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quoted(value)}\n`)
    .join("");
}

/** The token in the present `.env`, or null. */
export async function tokenIn(file) {
  const text = await readFile(file, "utf8").catch(() => "");
  return /^CLAW_GATEWAY_TOKEN=(['"`]?)([^'"`\r\n#]*)\1\s*$/m.exec(text)?.[2] || null;
}

/**
 * Replaces `file` so that a crash at any instant leaves the old or the new text, whole, with `owner` and 0600. The new
 * text is there when the promise resolves; that it stays through a power cut, when `durable` does: in an object, so
 * that nobody waits for it unawares.
 */
export async function placeFile(file, text, { uid, gid }) {
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}`);
  try {
    const handle = await open(draft, "w", 0o600);
    try {
      await handle.chmod(0o600);
      await handle.chown(uid, gid);
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
  const durable = open(dirname(file), "r").then((folder) => folder.sync().finally(() => folder.close()));
  durable.catch(() => {}); // told to whoever waits for it
  return { durable };
}

/** As `placeFile`; resolves when it is durable. */
export async function replaceFile(file, text, owner) {
  await (await placeFile(file, text, owner)).durable;
}

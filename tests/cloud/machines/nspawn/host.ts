/**
 * What a machine takes over from the host it runs on: the package mirror, the CA certificates, the resolver. All of
 * it is read when a machine is made, so that nothing of a host is ever written down in the project or in the image.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";

interface AptSource {
  readonly uri: string;
  readonly release: string;
}

/** The Debian archives in the host's own apt configuration, none if the host has no apt or is no Debian. */
async function hostAptSources(): Promise<readonly AptSource[]> {
  const format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
  const args = ["indextargets", "--no-release-info", "--format", format, "Identifier: Packages"];
  const { stdout } = await execa("apt-get", args, { reject: false });
  const sources = (stdout ?? "").split("\n").flatMap((line) => {
    const [uri, release, component] = line.split("|");
    return uri && release && component === "main" ? [{ uri, release }] : [];
  });
  return sources.filter(({ uri }) => /\/debian(-security)?\/?$/.test(uri));
}

/** The mirror that the host's apt uses for Debian; undefined leaves the choice to debootstrap's default. */
export async function hostMirror(): Promise<string | undefined> {
  return (await hostAptSources()).find(({ uri }) => /\/debian\/?$/.test(uri))?.uri;
}

/** sources.list for a Debian 12 machine, on the host's mirrors. */
export async function aptSourcesList(): Promise<string> {
  const sources = await hostAptSources();
  const main = sources.find(({ uri }) => /\/debian\/?$/.test(uri))?.uri ?? "http://deb.debian.org/debian";
  const security = sources.find(({ uri }) => /\/debian-security\/?$/.test(uri))?.uri;
  return [
    `deb ${main} bookworm main`,
    `deb ${main} bookworm-updates main`,
    ...(security ? [`deb ${security} bookworm-security main`] : []),
    "",
  ].join("\n");
}

/** Proxy settings of the host's apt, as a file for apt.conf.d; empty when it uses none. */
export async function aptProxyConfig(): Promise<string> {
  const { stdout } = await execa("apt-config", ["dump"], { reject: false });
  return (stdout ?? "")
    .split("\n")
    .filter((line) => /^Acquire::https?::Proxy\b/i.test(line))
    .map((line) => `${line}\n`)
    .join("");
}

/**
 * Files with the CA certificates that the host trusts, by their path on a machine. Behind a proxy that inspects TLS
 * a machine without them reaches no registry. The single certificates are there for a later
 * `update-ca-certificates`, which would otherwise write the bundle without them.
 */
export async function caFiles(): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  const bundle = await readText("/etc/ssl/certs/ca-certificates.crt");
  if (bundle) files["etc/ssl/certs/ca-certificates.crt"] = bundle;
  const local = "/usr/local/share/ca-certificates";
  for (const name of await readdir(local).catch(() => [])) {
    const text = name.endsWith(".crt") ? await readText(join(local, name)) : undefined;
    if (text) files[join("usr/local/share/ca-certificates", name)] = text;
  }
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  const extraText = extra ? await readText(extra) : undefined;
  if (extraText) {
    files["etc/ssl/host-extra-ca.pem"] = extraText;
    files["etc/environment"] = "NODE_EXTRA_CA_CERTS=/etc/ssl/host-extra-ca.pem\n";
    files["etc/sudoers.d/10-host-extra-ca"] = 'Defaults env_keep += "NODE_EXTRA_CA_CERTS"\n';
  }
  return files;
}

/**
 * The name servers a machine can use. A resolver on the host's loopback (systemd-resolved, dnsmasq) is out of a
 * machine's reach; systemd-resolved writes the servers behind it to a file of its own.
 *
 * @throws when every known name server of the host is on its loopback.
 */
export async function resolvConf(): Promise<string> {
  for (const path of ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]) {
    const lines = ((await readText(path)) ?? "").split("\n");
    const reachable = lines.filter((line) => !/^\s*nameserver\s+(127\.|::1|fe80:)/i.test(line));
    if (reachable.some((line) => /^\s*nameserver\s/.test(line))) return `${reachable.join("\n").trim()}\n`;
  }
  throw new Error(
    "machines cannot resolve names: every name server in the host's resolv.conf is on loopback; give the backend resolvConf",
  );
}

const readText = (path: string): Promise<string | undefined> => readFile(path, "utf8").catch(() => undefined);

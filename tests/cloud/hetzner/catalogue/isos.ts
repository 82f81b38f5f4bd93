/**
 * ISO images to boot from. The ids of the first two are Hetzner's (terraform-provider-hcloud's acceptance suite attaches
 * them); names and the other ids are ours, made like Hetzner's.
 */
export interface Iso {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly type: "public";
  /** The words of Hetzner's API description speak of null for ISOs that fit both; its schema does not allow it. */
  readonly architecture: "x86" | "arm";
  readonly deprecation: { readonly announced: string; readonly unavailable_after: string } | null;
}

export const isos: readonly Iso[] = [
  iso(8637, "windows-server-2022_English.iso", "Windows Server 2022 English", "x86"),
  iso(8638, "windows-server-2022_German.iso", "Windows Server 2022 German", "x86"),
  iso(118630, "debian-12.11.0-amd64-netinst.iso", "Debian 12.11 (amd64/netinstall)", "x86"),
  iso(118631, "debian-12.11.0-arm64-netinst.iso", "Debian 12.11 (arm64/netinstall)", "arm"),
  iso(118820, "ubuntu-24.04.3-live-server-amd64.iso", "Ubuntu 24.04.3 (amd64)", "x86"),
  iso(118821, "ubuntu-24.04.3-live-server-arm64.iso", "Ubuntu 24.04.3 (arm64)", "arm"),
];

/** By name or by id in decimal. */
export function findIso(idOrName: string): Iso | undefined {
  return isos.find((known) => known.name === idOrName || String(known.id) === idOrName);
}

function iso(id: number, name: string, description: string, architecture: Iso["architecture"]): Iso {
  return { id, name, description, type: "public", architecture, deprecation: null };
}

/**
 * System images. The id of ubuntu-24.04 for x86 is Hetzner's (default of terraform-provider-hcloud's acceptance suite),
 * that of debian-12 is the one in recorded provider runs; the other ids are ours. Of one name x86 comes first: older
 * clients ask without an architecture and take the first.
 */
export interface Image {
  readonly id: number;
  readonly name: string;
  readonly description: string;
  readonly flavor: "ubuntu" | "debian";
  readonly version: string;
  readonly architecture: "x86" | "arm";
  readonly created: string;
  readonly deprecated: string | null;
}

const titles = { ubuntu: "Ubuntu", debian: "Debian" } as const;

export const images: readonly Image[] = [
  image(45557056, "debian", "11", "x86", "2021-08-16T11:12:01Z", "2026-08-31T00:00:00Z"),
  image(45557057, "debian", "11", "arm", "2022-11-02T08:00:01Z", "2026-08-31T00:00:00Z"),
  image(67794396, "ubuntu", "22.04", "x86", "2022-04-21T13:32:38Z"),
  image(103908130, "ubuntu", "22.04", "arm", "2023-03-20T10:10:04Z"),
  image(114690389, "debian", "12", "x86", "2023-06-13T06:00:02Z"),
  image(114690390, "debian", "12", "arm", "2023-06-13T06:00:01Z"),
  image(161547269, "ubuntu", "24.04", "x86", "2024-04-25T13:26:27Z"),
  image(161547270, "ubuntu", "24.04", "arm", "2024-04-25T13:26:51Z"),
  image(310557660, "debian", "13", "x86", "2025-08-11T09:00:01Z"),
  image(310557661, "debian", "13", "arm", "2025-08-11T09:00:02Z"),
];

function image(
  id: number,
  flavor: "ubuntu" | "debian",
  version: string,
  architecture: "x86" | "arm",
  created: string,
  deprecated: string | null = null,
): Image {
  const name = `${flavor}-${version}`;
  return {
    id,
    name,
    description: `${titles[flavor]} ${version}`,
    flavor,
    version,
    architecture,
    created,
    deprecated,
  };
}

/** @param diskSize GB */
export function presentImage(image: Image, diskSize: number): Record<string, unknown> {
  return {
    id: image.id,
    type: "system",
    status: "available",
    name: image.name,
    description: image.description,
    image_size: null,
    disk_size: diskSize,
    created: image.created,
    created_from: null,
    bound_to: null,
    os_flavor: image.flavor,
    os_version: image.version,
    rapid_deploy: true,
    protection: { delete: false },
    deprecated: image.deprecated,
    deleted: null,
    labels: {},
    architecture: image.architecture,
  };
}

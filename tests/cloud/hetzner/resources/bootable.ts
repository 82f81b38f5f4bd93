import { type Image, images, presentImage } from "../catalogue/images.ts";
import type { Context } from "../context.ts";
import { invalidField } from "../http/errors.ts";
import { timestamp } from "../http/timestamp.ts";
import { snapshotIsLost } from "../lost-machines.ts";
import type { Stored } from "../store/documents.ts";

/** What a server can be made from: a system image, or a snapshot or backup of the project. */
export interface Bootable {
  readonly id: number;
  /** The system image itself, or the one that a snapshot goes back to. */
  readonly base: Image;
  readonly stored: Stored<"image"> | null;
  /** GB */
  readonly diskSize: number;
}

/** Of every system image. */
const systemDiskGb = 5;

const fromSystem = (base: Image): Bootable => ({ id: base.id, base, stored: null, diskSize: systemDiskGb });

function fromStored(stored: Stored<"image">): Bootable {
  const base = images.find((known) => known.id === stored.base);
  if (!base) throw new Error(`image ${stored.id} goes back to the unknown image ${stored.base}`);
  return { id: stored.id, base, stored, diskSize: stored.diskSize };
}

/** System images first. */
export function allBootable({ store }: Context, project: number): Bootable[] {
  return [...images.map(fromSystem), ...store.list("image", project).map(fromStored)];
}

/** By id. */
export function findBootable(context: Context, project: number, id: number): Bootable | null {
  const system = images.find((known) => known.id === id);
  if (system) return fromSystem(system);
  const stored = context.store.get("image", project, id);
  return stored && fromStored(stored);
}

export function statusOfImage({ backend }: Context, image: Stored<"image">): string {
  if (image.handle !== null && snapshotIsLost(backend, image.handle)) return "unavailable";
  return image.status;
}

/**
 * What `image` in an order means: an id, or the name of a system image. A deprecated one can still be used.
 * @throws ApiError 422 when there is none, or it fits neither the server's architecture nor its disk.
 */
export function chooseImage(
  context: Context,
  project: number,
  idOrName: string,
  server: { readonly architecture: "x86" | "arm" /** GB */; readonly disk: number },
): Bootable {
  const { architecture } = server;
  const named = images.find((known) => known.name === idOrName && known.architecture === architecture);
  const image = named ? fromSystem(named) : findBootable(context, project, Number(idOrName));
  if (!image) throw invalidField("image", `image '${idOrName}' not found`);
  const { base, stored, diskSize } = image;
  if (base.architecture !== architecture) {
    throw invalidField("image", `image is for ${base.architecture}, the server type is ${architecture}`);
  }
  if (stored && statusOfImage(context, stored) !== "available") {
    throw invalidField("image", `image '${idOrName}' is not available`);
  }
  if (diskSize > server.disk) {
    throw invalidField("image", `the image's disk of ${diskSize} GB is larger than the server's`);
  }
  return image;
}

export function presentBootable(context: Context, { base, stored }: Bootable): Record<string, unknown> {
  if (!stored) return presentImage(base, systemDiskGb);
  return {
    id: stored.id,
    type: stored.type,
    status: statusOfImage(context, stored),
    name: null,
    description: stored.description,
    image_size: stored.size,
    disk_size: stored.diskSize,
    created: timestamp(stored.created),
    created_from: stored.createdFrom,
    bound_to: stored.boundTo,
    os_flavor: base.flavor,
    os_version: base.version,
    rapid_deploy: false,
    protection: stored.protection,
    deprecated: null,
    deleted: null,
    labels: stored.labels,
    architecture: base.architecture,
  };
}

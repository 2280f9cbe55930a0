import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@soci-ts/core";
import { findMount, mount, unmount } from "@soci-ts/linux";

/** What this kernel's overlayfs takes, on the file system that snapshots lie on. */
export interface OverlayFeatures {
  /** `index=off`: without it, a lower directory that is used by two mounts may be refused. */
  readonly indexOff: boolean;
  /** `redirect_dir=on`: without it, a directory of a lower layer can't be renamed (EXDEV). */
  readonly redirectDir: boolean;
  /** `metacopy=off`: the default of a kernel may be on, which would leave files without their content in a committed snapshot. */
  readonly metacopyOff: boolean;
  /**
   * `xino=on`: a file of a lower layer on another file system keeps its inode number when it is written to, and all files show the overlay's
   * device number.
   */
  readonly xinoOn: boolean;
  /** `userxattr`: in a user namespace; excludes redirects and metacopy. */
  readonly userXattr: boolean;
}

/** What is wanted of overlayfs. */
export interface WantedFeatures {
  readonly userXattr: boolean;
  /** For lower layers whose inode numbers have 32 bits, as EROFS's have. */
  readonly xino: boolean;
}

const TARGET = "t";
const PARAMETERS = "/sys/module/overlay/parameters";

/**
 * Finds out by mounting, in `directory` (made and removed again), which options are taken. Where this process may not mount, what the kernel
 * module lists is believed.
 * @throws AppError `failed_precondition` if overlayfs does not work here at all.
 */
export async function probeOverlay(
  directory: string,
  { userXattr, xino }: WantedFeatures,
): Promise<OverlayFeatures> {
  const listed: OverlayFeatures = {
    indexOff: existsSync(join(PARAMETERS, "index")),
    redirectDir: !userXattr && existsSync(join(PARAMETERS, "redirect_dir")),
    metacopyOff: !userXattr && existsSync(join(PARAMETERS, "metacopy")),
    xinoOn: xino && existsSync(join(PARAMETERS, "xino_auto")),
    userXattr,
  };
  await clear(directory);
  try {
    return await tryMounts(directory, listed);
  } finally {
    await clear(directory);
  }
}

/** Also after a process that was killed while it tried. */
async function clear(directory: string): Promise<void> {
  const target = join(directory, TARGET);
  if (findMount(target) !== undefined) await unmount(target, { detach: true });
  await rm(directory, { recursive: true, force: true });
}

async function tryMounts(directory: string, listed: OverlayFeatures): Promise<OverlayFeatures> {
  for (const name of ["l", "u", "w", TARGET])
    await mkdir(join(directory, name), { recursive: true });
  const bare = {
    ...listed,
    indexOff: false,
    redirectDir: false,
    metacopyOff: false,
    xinoOn: false,
  };
  const refusal = await refusalOf(directory, bare);
  if (refusal?.code === "permission_denied") return listed;
  if (refusal !== undefined) {
    const message = `Cannot use overlayfs in "${directory}": ${refusal.message}, want a file system that can hold its upper directories`;
    throw new AppError("failed_precondition", message, { cause: refusal });
  }
  let features = bare;
  for (const name of ["indexOff", "metacopyOff", "redirectDir", "xinoOn"] as const) {
    const more = { ...features, [name]: listed[name] };
    if (listed[name] && (await refusalOf(directory, more)) === undefined) features = more;
  }
  return features;
}

async function refusalOf(
  directory: string,
  features: OverlayFeatures,
): Promise<AppError | undefined> {
  const at = (name: string): string => join(directory, name);
  const own = { content: at("u"), work: at("w") };
  const data = overlayOptions(features, { lowers: [at("l")], own }).join(",");
  try {
    await mount({ source: "overlay", target: at(TARGET), type: "overlay", data });
  } catch (error) {
    return AppError.from(error);
  }
  await unmount(at(TARGET), { detach: true });
  return undefined;
}

/** What an overlay is made of. */
export interface OverlayParts {
  /** Top first. */
  readonly lowers: readonly string[];
  /** Where changes go; read-only without. */
  readonly own?: { readonly content: string; readonly work: string };
}

/** Mount options of an overlay, the long one last. */
export function overlayOptions(
  features: OverlayFeatures,
  { lowers, own }: OverlayParts,
): readonly string[] {
  const options: string[] = [];
  if (features.indexOff) options.push("index=off");
  if (features.userXattr) options.push("userxattr");
  // What a rename left must be followed by who only reads, too: some kernels don't unless told.
  if (features.redirectDir)
    options.push(own === undefined ? "redirect_dir=follow" : "redirect_dir=on");
  if (features.metacopyOff) options.push("metacopy=off");
  if (features.xinoOn) options.push("xino=on");
  if (own !== undefined) options.push(`workdir=${own.work}`, `upperdir=${own.content}`);
  options.push(`lowerdir=${lowers.join(":")}`);
  return options;
}

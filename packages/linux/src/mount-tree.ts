import { loadLibc } from "./ffi.ts";
import { type MountRequest, mount } from "./mount.ts";
import { runTool, toolError } from "./run-tool.ts";

/** What a bind mount may be restricted to. */
export type BindFlag = "ro" | "nosuid" | "nodev" | "noexec" | "noatime";

/**
 * Shows a directory or file at a second place.
 * @param flags - what holds at the new place only; mount(2) ignores them when it binds, so they are set by a second call.
 * @throws AppError as {@link mount}.
 */
export async function bindMount(
  source: string,
  target: string,
  flags: readonly BindFlag[] = [],
): Promise<void> {
  await mount({ source, target, type: "none", flags: ["bind"] });
  if (flags.length === 0) return;
  await mount({ source: "none", target, type: "none", flags: ["remount", "bind", ...flags] });
}

/** Takes a mount from one directory to another. Fails under a parent whose propagation is shared. @throws AppError as {@link mount}. */
export async function moveMount(source: string, target: string): Promise<void> {
  await changeMount({ source, target, type: "none", flags: ["move"] }, ["--move", "--", source]);
}

/**
 * Sets who sees mounts that are made below a mount point later: nobody else (`private`), or this side only those of the peers (`slave`).
 * @param target - a mount point; the setting holds for what is mounted below it now, too.
 * @throws AppError as {@link mount}; `failed_precondition` if it is no mount point.
 */
export async function setPropagation(
  target: string,
  propagation: "private" | "slave",
): Promise<void> {
  const flags: MountRequest["flags"] = ["rec", propagation];
  await changeMount({ source: "none", target, type: "none", flags }, [
    `--make-r${propagation}`,
    "--",
  ]);
}

/** mount(8) has switches of its own for what mount(2) takes as flags. */
async function changeMount(request: MountRequest, switches: readonly string[]): Promise<void> {
  if (loadLibc() !== undefined) return await mount(request);
  const { failure } = await runTool("mount", ["-i", "-n", ...switches, request.target]);
  if (failure !== undefined) throw toolError(`change the mount on "${request.target}"`, failure);
}

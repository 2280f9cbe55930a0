import { type KernelProbe, type ProbeFinding, probeKernel } from "@soci-ts/linux";
import type { Finding } from "./finding.ts";

type ProbeName = Exclude<keyof KernelProbe, "release">;

/** What each probe is called, and whether no door to a mount works without it. */
const PROBES: readonly { probe: ProbeName; check: string; essential: boolean }[] = [
  { probe: "sysAdmin", check: "right to mount", essential: true },
  { probe: "fuseDevice", check: "/dev/fuse", essential: true },
  { probe: "fuse", check: "kernel: FUSE", essential: true },
  { probe: "overlay", check: "kernel: overlayfs", essential: true },
  { probe: "erofs", check: "kernel: EROFS", essential: false },
  { probe: "erofsFileBacked", check: "kernel: EROFS from files", essential: false },
  { probe: "erofsOnLoop", check: "kernel: EROFS on loop devices", essential: false },
  { probe: "erofsIdMapped", check: "kernel: id-mapped EROFS", essential: false },
  { probe: "fuseIdMapped", check: "kernel: id-mapped FUSE", essential: false },
  { probe: "ffi", check: "native calls (koffi)", essential: false },
  { probe: "mountNamespace", check: "mount namespace", essential: false },
];

/**
 * What mounting needs of the kernel. For a user who is not root nothing here is a failure: all commands but `mount` work.
 */
export function checkKernel(isRoot: boolean): Finding[] {
  const kernel = probeKernel();
  return PROBES.map(({ probe, check, essential }) =>
    toFinding(check, kernel[probe], essential && isRoot),
  );
}

function toFinding(
  check: string,
  { state, found, fix }: ProbeFinding,
  essential: boolean,
): Finding {
  if (state === "ok") return { check, state, found };
  const isFailure = state === "missing" && essential;
  return {
    check,
    state: isFailure ? "fail" : "warn",
    found,
    ...(fix === undefined ? {} : { fix }),
  };
}

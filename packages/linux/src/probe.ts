import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { release } from "node:os";
import { gunzipSync } from "node:zlib";
import { ffiAvailable } from "./ffi.ts";
import { fuseDeviceFix, tryFuseDevice } from "./fuse-mount.ts";
import {
  erofsFileBackedSupport,
  type FileBackedSupport,
  isAtLeast,
  parseKernelVersion,
} from "./kernel-version.ts";

/** What a probe found. Only `ok` needs nothing done; `degraded` works in a slower way. */
export interface ProbeFinding {
  readonly state: "ok" | "degraded" | "missing";
  /** What was seen, in a few words. */
  readonly found: string;
  /** What to do, as exact as can be; present unless the state is `ok`. */
  readonly fix?: string;
}

/** Everything that mounting needs of the machine. */
export interface KernelProbe {
  /** `uname -r`. */
  readonly release: string;
  readonly ffi: ProbeFinding;
  readonly fuseDevice: ProbeFinding;
  readonly fuse: ProbeFinding;
  readonly overlay: ProbeFinding;
  readonly erofs: ProbeFinding;
  readonly erofsFileBacked: ProbeFinding & { readonly support: FileBackedSupport };
  /** EROFS with blocks of 512 bytes on loop devices. */
  readonly erofsOnLoop: ProbeFinding;
  /** Owners of EROFS mounts can be shifted. */
  readonly erofsIdMapped: ProbeFinding;
  /** Owners of FUSE mounts can be shifted. */
  readonly fuseIdMapped: ProbeFinding;
  readonly sysAdmin: ProbeFinding;
  readonly mountNamespace: ProbeFinding;
}

/** Where the probe looks; replaced in tests. */
export interface ProbeInputs {
  readonly release: string;
  /** Text of a file, or `undefined` if it can't be read. */
  readonly readText: (path: string) => string | undefined;
  readonly exists: (path: string) => boolean;
  readonly readLink: (path: string) => string | undefined;
  /** The errno of opening `/dev/fuse`, or `undefined`. */
  readonly fuseDeviceErrno: string | undefined;
  readonly ffi: boolean;
}

/** Looks at this machine. Reads files only, mounts nothing; takes milliseconds. */
export function probeKernel(): KernelProbe {
  return judgeKernel({
    release: release(),
    readText: readTextFile,
    exists: existsSync,
    readLink: (path) => attempt(() => readlinkSync(path)),
    fuseDeviceErrno: tryFuseDevice(),
    ffi: ffiAvailable(),
  });
}

/** The findings for given inputs; pure. */
export function judgeKernel(inputs: ProbeInputs): KernelProbe {
  return {
    release: inputs.release,
    ffi: judgeFfi(inputs),
    fuseDevice: judgeFuseDevice(inputs),
    fuse: judgeFileSystem(inputs, "fuse", "CONFIG_FUSE_FS", "missing"),
    overlay: judgeFileSystem(inputs, "overlay", "CONFIG_OVERLAY_FS", "missing"),
    erofs: judgeFileSystem(inputs, "erofs", "CONFIG_EROFS_FS", "degraded"),
    erofsFileBacked: judgeFileBacked(inputs),
    erofsOnLoop: judgeLoop(inputs),
    erofsIdMapped: judgeIdMapped(inputs, "EROFS", [5, 19]),
    fuseIdMapped: judgeIdMapped(inputs, "FUSE", [6, 12]),
    sysAdmin: judgeSysAdmin(inputs),
    mountNamespace: judgeMountNamespace(inputs),
  };
}

function judgeFfi(inputs: ProbeInputs): ProbeFinding {
  if (inputs.ffi) return { state: "ok", found: "koffi loads" };
  return {
    state: "degraded",
    found: "koffi does not load: mounts go through mount(8), EROFS can't be mounted from files",
    fix: "run `npm install --include=optional koffi`",
  };
}

function judgeFuseDevice(inputs: ProbeInputs): ProbeFinding {
  const errno = inputs.fuseDeviceErrno;
  if (errno === undefined) return { state: "ok", found: "/dev/fuse opens" };
  return { state: "missing", found: `/dev/fuse: ${errno}`, fix: fuseDeviceFix(errno) };
}

function judgeFileSystem(
  inputs: ProbeInputs,
  name: string,
  option: string,
  stateIfAbsent: "degraded" | "missing",
): ProbeFinding {
  const table = inputs.readText("/proc/filesystems") ?? "";
  const known = table.split("\n").some((line) => line.split("\t")[1] === name);
  if (known) return { state: "ok", found: `${name} is in /proc/filesystems` };
  const setting = kernelOption(inputs, option);
  const isModule = setting === "m" || inputs.exists(modulePath(inputs.release, name));
  return {
    state: stateIfAbsent,
    found: `${name} is not in /proc/filesystems`,
    fix: isModule
      ? `run \`modprobe ${name}\` (and put "${name}" in /etc/modules-load.d/soci.conf to keep it)`
      : `run \`modprobe ${name}\`; if that fails, boot a kernel with ${option}`,
  };
}

function modulePath(kernelRelease: string, name: string): string {
  const directory = name === "overlay" ? "overlayfs" : name;
  return `/lib/modules/${kernelRelease}/kernel/fs/${directory}`;
}

function judgeFileBacked(inputs: ProbeInputs): KernelProbe["erofsFileBacked"] {
  const setting = kernelOption(inputs, "CONFIG_EROFS_FS_BACKED_BY_FILE");
  const support = setting === "n" ? "no" : erofsFileBackedSupport(inputs.release);
  switch (support) {
    case "yes":
      return { support, state: "ok", found: `Linux ${inputs.release} mounts EROFS from files` };
    case "unsafe":
      return {
        support,
        state: "degraded",
        found: `Linux ${inputs.release} mounts EROFS from files, but is not known to have the short-read fix of early 2026`,
        fix: "boot Linux 7.0 or later, or 6.18.44 or later of the 6.18 series; until then images are mounted through loop devices, or served as a FUSE tree (chosen by itself)",
      };
    case "no":
      return {
        support,
        state: "degraded",
        found: `Linux ${inputs.release} can't mount EROFS from files${setting === "n" ? " (CONFIG_EROFS_FS_BACKED_BY_FILE is off)" : ""}`,
        fix: "boot Linux 6.12 or later with CONFIG_EROFS_FS_BACKED_BY_FILE; until then images are mounted through loop devices, or served as a FUSE tree (chosen by itself)",
      };
  }
}

function judgeLoop(inputs: ProbeInputs): ProbeFinding {
  if (!isRelease(inputs, 6, 4)) {
    return {
      state: "degraded",
      found: `Linux ${inputs.release} can't mount EROFS with blocks of 512 bytes`,
      fix: "boot Linux 6.4 or later; until then images are served as a FUSE tree (chosen by itself)",
    };
  }
  if (inputs.exists("/dev/loop-control")) return { state: "ok", found: "/dev/loop-control exists" };
  return {
    state: "degraded",
    found: "/dev/loop-control does not exist",
    fix: "run `modprobe loop`; in a container, add `--privileged -v /dev:/dev`",
  };
}

function judgeIdMapped(
  inputs: ProbeInputs,
  what: string,
  [major, minor]: readonly [number, number],
): ProbeFinding {
  if (isRelease(inputs, major, minor)) {
    return { state: "ok", found: `Linux ${inputs.release} shifts owners of ${what} mounts` };
  }
  return {
    state: "degraded",
    found: `Linux ${inputs.release} can't shift owners of ${what} mounts`,
    fix: `boot Linux ${major}.${minor} or later for user namespaces over this door`,
  };
}

function isRelease({ release: text }: ProbeInputs, major: number, minor: number): boolean {
  const version = parseKernelVersion(text);
  return version !== undefined && isAtLeast(version, major, minor);
}

/** `y`, `m` or `n` where the kernel's configuration can be read, else `undefined`. */
function kernelOption(inputs: ProbeInputs, option: string): "y" | "m" | "n" | undefined {
  const config =
    inputs.readText("/proc/config.gz") ?? inputs.readText(`/boot/config-${inputs.release}`);
  if (config === undefined) return undefined;
  const set = new RegExp(`^${option}=([ym])$`, "m").exec(config);
  return set === null ? "n" : (set[1] as "y" | "m");
}

const CAP_SYS_ADMIN = 21n;

function judgeSysAdmin(inputs: ProbeInputs): ProbeFinding {
  const status = inputs.readText("/proc/self/status") ?? "";
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  const has = (effective / 2n ** CAP_SYS_ADMIN) % 2n === 1n;
  if (has) return { state: "ok", found: "CAP_SYS_ADMIN is effective" };
  return {
    state: "missing",
    found: "CAP_SYS_ADMIN is not effective",
    fix: "run as root; in a container, add `--cap-add SYS_ADMIN`",
  };
}

function judgeMountNamespace(inputs: ProbeInputs): ProbeFinding {
  const own = inputs.readLink("/proc/self/ns/mnt");
  const first = inputs.readLink("/proc/1/ns/mnt");
  if (own === undefined || first === undefined) {
    return {
      state: "degraded",
      found: "the mount namespace can't be read",
      fix: "run as root with /proc mounted; mounts may be visible to this session only",
    };
  }
  if (own === first) return { state: "ok", found: "in the mount namespace of process 1" };
  return {
    state: "degraded",
    found: "in a mount namespace of its own: mounts are not visible outside it",
    fix: "if the mounts are for other processes, run under `nsenter --mount=/proc/1/ns/mnt`",
  };
}

function readTextFile(path: string): string | undefined {
  return attempt(() => {
    const bytes = readFileSync(path);
    return (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString("utf8");
  });
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // absent or not ours to read: the finding says so
  }
}

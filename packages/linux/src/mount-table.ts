import { readFileSync } from "node:fs";

/** One line of `/proc/self/mountinfo` (proc(5)), escapes decoded. */
export interface MountInfo {
  readonly mountId: number;
  readonly parentId: number;
  /** `major:minor` of the mounted file system, as `st_dev` tells it. */
  readonly device: string;
  /** What of the file system is mounted: `/` unless a bind mount of a part. */
  readonly root: string;
  readonly mountPoint: string;
  readonly mountOptions: string;
  readonly type: string;
  readonly source: string;
  readonly superOptions: string;
}

/** The mounts of this process's namespace, in the order of mounting. Never touches the mounts themselves, so a dead FUSE can't hang it. */
export function readMountTable(): readonly MountInfo[] {
  return parseMountTable(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** The top mount whose mount point is exactly `path` (absolute, no symbolic links), or `undefined`. */
export function findMount(path: string): MountInfo | undefined {
  return readMountTable().findLast((info) => info.mountPoint === path);
}

/** The mount that shows `path` (absolute, no symbolic links): the one with the longest mount point above it, the top one of several. */
export function findMountOf(path: string): MountInfo | undefined {
  const above = readMountTable().filter(({ mountPoint }) =>
    `${path}/`.startsWith(mountPoint === "/" ? "/" : `${mountPoint}/`),
  );
  const longest = Math.max(...above.map(({ mountPoint }) => mountPoint.length));
  return above.findLast(({ mountPoint }) => mountPoint.length === longest);
}

/** Parses mountinfo; lines that are not in its form are left out (the kernel's own output always is). */
export function parseMountTable(text: string): readonly MountInfo[] {
  return text.split("\n").flatMap((line) => {
    const info = parseLine(line);
    return info === undefined ? [] : [info];
  });
}

/** `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue`; optional fields end at the dash. */
function parseLine(line: string): MountInfo | undefined {
  const fields = line.split(" ");
  const dash = fields.indexOf("-", 6);
  const [mountId, parentId, device, root, mountPoint, mountOptions] = fields;
  const [type, source, superOptions] = dash < 0 ? [] : fields.slice(dash + 1);
  if (!mountPoint || !device || !root || mountOptions === undefined) return undefined;
  if (type === undefined || source === undefined) return undefined;
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    device,
    root: decodeEscapes(root),
    mountPoint: decodeEscapes(mountPoint),
    mountOptions,
    type,
    source: decodeEscapes(source),
    superOptions: decodeEscapes(superOptions ?? ""),
  };
}

/** Space, tab, newline and backslash stand as `\` and three octal digits. */
function decodeEscapes(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}

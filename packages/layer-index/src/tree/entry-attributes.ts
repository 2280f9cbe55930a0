import type { ByteString } from "@soci-ts/core";
import type { ErofsAttributes, ErofsKind, ErofsNode } from "@soci-ts/erofs";
import type { TarEntry } from "@soci-ts/tar";

/** Where an entry's xattrs stand in its PAX records; the only spelling that containerd takes. */
const XATTR_RECORD = "SCHILY.xattr.";
const CAPABILITY = "security.capability" as ByteString;
/** Latest time that an unpacker can set: 2^63 − 1 nanoseconds. Later and negative ones become 0, as in containerd. */
const LATEST_SEC = 9_223_372_036;
const LATEST_NSEC = 854_775_807;
const SET_GROUP_ID = 0o2000;
/** How many owners the kernel's 32 bits tell apart. */
const IDS = 2 ** 32;

/**
 * Gives a node the attributes of an entry, as an unpacker's chown, setxattr, chmod and utimes do: xattrs that the node has
 * already stay, but chown takes a non-directory's capabilities away, and a link's mode is what it always is.
 */
export function applyAttributes(node: ErofsNode, entry: TarEntry): void {
  const { mode, uid, gid } = attributesOf(entry);
  node.uid = uid;
  node.gid = gid;
  if (node.kind !== "dir") node.xattrs.delete(CAPABILITY);
  for (const [name, value] of xattrsOf(entry, node.kind)) node.xattrs.set(name, value);
  if (node.kind !== "symlink") node.mode = mode;
  applyTime(node, entry);
}

/** The modification time of an entry, on a node. */
export function applyTime(node: ErofsNode, entry: TarEntry): void {
  const { mtimeSec, mtimeNsec } = boundedTime(entry);
  node.mtimeSec = mtimeSec;
  node.mtimeNsec = mtimeNsec;
}

/** Everything but the xattrs. */
export function attributesOf(entry: TarEntry): ErofsAttributes {
  const ids = { uid: wrap(entry.uid, IDS), gid: wrap(entry.gid, IDS) };
  return { mode: wrap(entry.mode, 0o10000), ...ids, ...boundedTime(entry), xattrs: new Map() };
}

/** What a directory has that no layer describes. A set-group-id parent passes its group on, as mkdir does. */
export function defaultDirectoryAttributes(parent?: ErofsAttributes): ErofsAttributes {
  const passesGroup = parent !== undefined && Math.floor(parent.mode / SET_GROUP_ID) % 2 === 1;
  const gid = passesGroup ? parent.gid : 0;
  return { mode: 0o755, uid: 0, gid, mtimeSec: 0, mtimeNsec: 0, xattrs: new Map() };
}

/** Attributes of a file of the layers below, for its copy in this layer; `trusted.*` speaks of its own layer and stays there. */
export function copiedAttributes(node: ErofsNode): ErofsAttributes {
  const { mode, uid, gid, mtimeSec, mtimeNsec } = node;
  const xattrs = new Map([...node.xattrs].filter(([name]) => !name.startsWith("trusted.")));
  return { mode, uid, gid, mtimeSec, mtimeNsec, xattrs };
}

function* xattrsOf(entry: TarEntry, kind: ErofsKind): Generator<[ByteString, ByteString]> {
  for (const [key, value] of entry.paxRecords) {
    if (!key.startsWith(XATTR_RECORD)) continue;
    const name = key.slice(XATTR_RECORD.length) as ByteString;
    if (isSettable(name, kind)) yield [name, value];
  }
}

/** Whether setxattr would succeed: other names are ignored. `trusted.*` and `user.overlay.*` would steer overlayfs. */
function isSettable(name: ByteString, kind: ErofsKind): boolean {
  if (name.startsWith("user.")) {
    const holdsUserXattrs = kind === "reg" || kind === "dir";
    return holdsUserXattrs && name.length > "user.".length && !name.startsWith("user.overlay.");
  }
  if (name.startsWith("security.")) return name.length > "security.".length;
  if (name === "system.posix_acl_access") return kind !== "symlink";
  return name === "system.posix_acl_default" && kind === "dir";
}

function boundedTime({ mtimeSec, mtimeNsec }: TarEntry): { mtimeSec: number; mtimeNsec: number } {
  const isLate = mtimeSec > LATEST_SEC || (mtimeSec === LATEST_SEC && mtimeNsec > LATEST_NSEC);
  return mtimeSec < 0 || isLate ? { mtimeSec: 0, mtimeNsec: 0 } : { mtimeSec, mtimeNsec };
}

/** A number as its low bits, for `size` a power of two: negative ones too. */
function wrap(value: number, size: number): number {
  return ((value % size) + size) % size;
}

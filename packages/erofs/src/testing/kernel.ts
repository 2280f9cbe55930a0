import { execFileSync } from "node:child_process";
import { type ByteString, byteStringFrom } from "@soci-ts/core";
import koffi from "koffi";

const MS_RDONLY = 1;
const MNT_DETACH = 2;
const ENODATA = 61;

const libc = koffi.load(null);
const mount2 = libc.func(
  "int mount(const char *, const char *, const char *, unsigned long, const char *)",
);
const umount2 = libc.func("int umount2(const char *, int)");
const llistxattr = libc.func("long llistxattr(const void *, _Out_ void *, size_t)");
const lgetxattr = libc.func("long lgetxattr(const void *, const char *, _Out_ void *, size_t)");

/** mount(2), read-only. @throws Error with the errno's number. */
export function mountReadOnly(
  source: string,
  target: string,
  { type, data }: { type: string; data: string },
): void {
  if (mount2(source, target, type, MS_RDONLY, data) !== 0) {
    throw new Error(`mount ${type} on ${target} with ${data}: errno ${koffi.errno()}`);
  }
}

/** umount2(2) with MNT_DETACH; what is not mounted is left alone. */
export function unmount(target: string): void {
  umount2(target, MNT_DETACH);
}

/** All xattrs of a path that is bytes; links are not followed. */
export function xattrsOf(path: Buffer): Map<ByteString, ByteString> {
  const cPath = Buffer.concat([path, Buffer.of(0)]);
  const list = Buffer.alloc(65_536);
  const listBytes: number = llistxattr(cPath, list, list.length);
  if (listBytes < 0) throw new Error(`llistxattr ${path}: errno ${koffi.errno()}`);
  const xattrs = new Map<ByteString, ByteString>();
  for (const name of list.toString("latin1", 0, listBytes).split("\0").slice(0, -1)) {
    const value = Buffer.alloc(65_536);
    const valueBytes: number = lgetxattr(cPath, name, value, value.length);
    // The ACLs of a link are listed and not given.
    if (valueBytes < 0 && koffi.errno() === ENODATA) continue;
    if (valueBytes < 0) throw new Error(`lgetxattr ${path} ${name}: errno ${koffi.errno()}`);
    xattrs.set(name as ByteString, byteStringFrom(value.subarray(0, valueBytes)));
  }
  return xattrs;
}

/** Why the kernel cannot mount EROFS from files here, or undefined if it can. */
export function whyNoErofs(): string | undefined {
  if (process.getuid?.() !== 0) return "it needs root";
  const [major = 0, minor = 0] = execFileSync("uname", ["-r"], { encoding: "utf8" })
    .split(".")
    .map(Number);
  if (major < 6 || (major === 6 && minor < 12))
    return "the kernel has no EROFS mounts from files (6.12)";
  const fileSystems = execFileSync("cat", ["/proc/filesystems"], { encoding: "utf8" });
  return fileSystems.includes("\terofs\n") ? undefined : "the kernel has no EROFS";
}

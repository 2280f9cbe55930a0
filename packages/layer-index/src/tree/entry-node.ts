import { type ByteString, displayByteString, FormatError } from "@soci-ts/core";
import type { ErofsNode } from "@soci-ts/erofs";
import { MAX_LINK_TARGET_BYTES, MAX_NAME_BYTES } from "@soci-ts/erofs/limits";
import type { TarEntry } from "@soci-ts/tar";
import { applyAttributes, attributesOf } from "./entry-attributes.ts";

const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;

/**
 * The file that an entry describes, on its own; not for hard links.
 * @throws FormatError for what no unpacker could make.
 */
export function newNode(entry: TarEntry): ErofsNode {
  const node = bareNode(entry);
  applyAttributes(node, entry);
  return node;
}

function bareNode(entry: TarEntry): ErofsNode {
  const attributes = attributesOf(entry);
  switch (entry.type) {
    case "dir":
      return { kind: "dir", ...attributes, children: new Map() };
    case "reg": {
      const { sizeBytes, dataOffset } = entry;
      if (dataOffset % 512 !== 0)
        fault(entry, `its data starts at byte ${dataOffset}, want a multiple of 512`);
      return { kind: "reg", ...attributes, sizeBytes, device: 0, dataOffset };
    }
    case "symlink": {
      const { length } = entry.linkname;
      if (length < 1 || length > MAX_LINK_TARGET_BYTES || entry.linkname.includes("\0")) {
        fault(
          entry,
          `its target has ${length} bytes, want 1 to ${MAX_LINK_TARGET_BYTES} without NUL`,
        );
      }
      return { kind: "symlink", ...attributes, mode: 0o777, target: entry.linkname };
    }
    case "char":
    case "block": {
      const { devmajor, devminor } = entry;
      const isDevice =
        devmajor >= 0 && devmajor <= MAX_MAJOR && devminor >= 0 && devminor <= MAX_MINOR;
      if (!isDevice)
        fault(
          entry,
          `it is device ${devmajor}:${devminor}, want at most ${MAX_MAJOR}:${MAX_MINOR}`,
        );
      return { kind: entry.type, ...attributes, devmajor, devminor };
    }
    case "fifo":
      return { kind: "fifo", ...attributes, devmajor: 0, devminor: 0 };
    case "hardlink":
      return fault(entry, "a hard link is no file of its own");
  }
}

/** @throws FormatError if no file can have this name. */
export function checkName(entry: TarEntry, name: ByteString): void {
  if (name.length <= MAX_NAME_BYTES && !name.includes("\0")) return;
  fault(
    entry,
    `a name in its path has ${name.length} bytes, want at most ${MAX_NAME_BYTES} without NUL`,
  );
}

/** Refuses an entry, naming it and the place of its header. */
export function fault(entry: TarEntry, state: string): never {
  const name = displayByteString(entry.name.slice(0, 400) as ByteString);
  throw new FormatError(
    "layer tar",
    entry.headerOffset,
    `entry "${name}" cannot be unpacked: ${state}`,
  );
}

import type { TarItem } from "@soci-ts/testkit";

/** Layers that replace, hide and add to each other, bottom first. Directories are left out on purpose where a layer adds below them. */
export const CHAIN: readonly (readonly TarItem[])[] = [
  [
    { name: "tmp/", type: "directory", mode: 0o1777, uid: 3, gid: 4 },
    { name: "etc/", type: "directory", mode: 0o750 },
    { name: "etc/old", content: "old" },
    { name: "etc/kept", content: "kept", mode: 0o4755 },
    { name: "var/", type: "directory" },
    { name: "var/log/", type: "directory", mode: 0o700 },
    { name: "var/log/a", content: "a" },
    { name: "var/log/b", content: "b" },
    { name: "was-dir/", type: "directory" },
    { name: "was-dir/inside", content: "inside" },
    { name: "was-file", content: "file" },
  ],
  [
    { name: "tmp/new", content: "new" },
    { name: "etc/.wh.old", content: "" },
    { name: "etc/kept-link", type: "symlink", linkname: "kept" },
    { name: "var/log/", type: "directory", mode: 0o711 },
    { name: "var/log/.wh..wh..opq", content: "" },
    { name: "var/log/c", content: "c" },
    { name: "was-dir", content: "now a file" },
    { name: "was-file/", type: "directory", mode: 0o555 },
    { name: "was-file/child", content: "child" },
    { name: "pair", content: "pair" },
    { name: "pair-2", type: "link", linkname: "pair" },
  ],
  [
    { name: "etc/old", content: "back again" },
    { name: ".wh.pair", content: "" },
    { name: "tmp/new", content: "newer" },
  ],
];

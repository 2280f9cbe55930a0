import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ByteString, byteStringFromText } from "@soci-ts/core";
import { type ErofsDirectory, encodeErofs } from "@soci-ts/erofs";

/** A metadata image and its devices, as files. */
export interface TinyLayer {
  /** The image, padded with zeros to whole pages. */
  readonly source: string;
  readonly image: Uint8Array;
  readonly devices: readonly string[];
}

/** What the tiny layer's files `zero` and `one` hold: one on each of its two devices. */
export const TINY_CONTENTS: Readonly<Record<string, string>> = {
  zero: "0".repeat(5000),
  one: "1".repeat(700),
};

/** Owner and group of everything in the tiny layer. */
export const TINY_OWNER = { uid: 5, gid: 7 } as const;

/** Writes a layer of two files on two devices, without FUSE, into a directory (of a tmpfs: EROFS reads it directly). */
export async function writeTinyLayer(directory: string): Promise<TinyLayer> {
  const attributes = { ...TINY_OWNER, mtimeSec: 1, mtimeNsec: 0 };
  const xattrs = new Map<ByteString, ByteString>();
  const root: ErofsDirectory = {
    ...attributes,
    kind: "dir",
    mode: 0o755,
    xattrs,
    children: new Map(),
  };
  const devices: { path: string; sizeBytes: number }[] = [];
  for (const [device, [name, content]] of Object.entries(TINY_CONTENTS).entries()) {
    const sizeBytes = content.length;
    const file = { ...attributes, kind: "reg", mode: 0o644, xattrs, sizeBytes, device } as const;
    root.children.set(byteStringFromText(name), { ...file, dataOffset: 0 });
    const padded = Buffer.alloc(Math.ceil(sizeBytes / 4096) * 4096);
    padded.write(content);
    const path = join(directory, `data-${name}`);
    await writeFile(path, padded);
    devices.push({ path, sizeBytes });
  }
  const source = join(directory, "image");
  const image = encodeErofs(root, { devices, uuid: new Uint8Array(16) });
  await writeFile(source, Buffer.concat([image, Buffer.alloc(4096 - (image.length % 4096))]));
  return { source, image, devices: devices.map(({ path }) => path) };
}
